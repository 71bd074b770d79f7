package neighbor

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// Socket gets the neighbor solicitations of an Ethernet link, whoever they are for, and sends frames.
type Socket struct{ file *os.File }

// Listen opens a socket at an interface. It needs the capability CAP_NET_RAW, which the socket does not need afterwards.
func Listen(ifname string) (*Socket, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("find the interface %s: %w", ifname, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("interface %s is no Ethernet, so it has no neighbor solicitations to answer", ifname)
	}
	// With protocol 0 it gets nothing until the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket (CAP_NET_RAW is needed): %w", err)
	}
	if err := prepare(fd, ifi.Index); err != nil {
		_ = unix.Close(fd) // it was not used
		return nil, fmt.Errorf("listen for neighbor solicitations at %s: %w", ifname, err)
	}
	return &Socket{os.NewFile(uintptr(fd), "neighbor solicitations at "+ifname)}, nil
}

func prepare(fd, index int) error {
	program, err := bpf.Assemble(solicitations())
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, p := range program {
		filter[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}); err != nil {
		return fmt.Errorf("set the filter: %w", err)
	}
	// Solicitations go to a group that the last 24 bits of the target name. A host with a client at each cannot join them all.
	all := &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_ALLMULTI}
	if err := unix.SetsockoptPacketMreq(fd, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, all); err != nil {
		return fmt.Errorf("take all multicast: %w", err)
	}
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IPV6)) // in network order
	return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index})
}

// solicitations is a filter for frames that may be neighbor solicitations: ICMPv6 right behind the IPv6 header, with hop limit 255. It
// leaves out those of VLANs, which the kernel shows at the interface below them, too.
func solicitations() []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 7},
		bpf.LoadAbsolute{Off: 12, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: etherTypeIP6, SkipFalse: 5},
		bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 2}, // next header and hop limit
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6<<8 | 255, SkipFalse: 3},
		bpf.LoadAbsolute{Off: ethernetLen + teredo.HeaderLen, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: teredo.ICMPv6NeighborSolicitation, SkipFalse: 1},
		bpf.RetConstant{Val: mostFrame},
		bpf.RetConstant{Val: 0},
	}
}

// Read waits for a frame.
func (s *Socket) Read(frame []byte) (int, error) { return s.file.Read(frame) }

// Write sends a frame.
func (s *Socket) Write(frame []byte) (int, error) { return s.file.Write(frame) }

// SetReadDeadline has Read wait no longer; zero: for ever.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// Close ends Read.
func (s *Socket) Close() error { return s.file.Close() }
