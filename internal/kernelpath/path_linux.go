package kernelpath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	withheldRecently = 10 * time.Second // since a GSO packet went to the program because of a NAT or firewall
	mostLogged       = 1000
)

// Path is the kernel's path between one TUN device and one UDP port. One goroutine at a time uses it.
type Path struct {
	objects objectObjects
	tun     int // index of the interface
	local   netip.AddrPort
	natives teredo.NativePrefixes
	egress  link.Link
	uplinks map[int]*uplink
	packets int // socket that bubbles leave from
	most    int // flows

	log    *slog.Logger
	logged map[netip.Addr]bool // addresses that datagrams without a UDP checksum do not reach
}

// Open makes the path between the TUN device and the UDP port of this host, for at most so many flows at a time. Peers with
// addresses in natives have native ones on the side of the TUN device. Without the privilege, or on a kernel that cannot do it,
// the error says what is missing.
func Open(tun string, local netip.AddrPort, flows int, natives teredo.NativePrefixes, log *slog.Logger) (*Path, error) {
	device, err := net.InterfaceByName(tun)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", tun, err)
	}
	p := &Path{tun: device.Index, local: local, natives: natives, uplinks: make(map[int]*uplink), packets: -1, most: flows, log: log, logged: make(map[netip.Addr]bool)}
	if err := p.open(); err != nil {
		return nil, errors.Join(explain(err), p.Close())
	}
	return p, nil
}

func (p *Path) open() error {
	spec, err := loadObject()
	if err != nil {
		return err
	}
	spec.Maps["flows"].MaxEntries = uint32(p.most)
	if err := spec.Variables["translates"].Set(len(p.natives) > 0); err != nil {
		return err
	}
	if len(p.natives) > 0 {
		spec.Maps["clients"].MaxEntries = uint32(p.most)
	}
	if err := spec.Variables["tunnel"].Set(uint32(p.tun)); err != nil {
		return err
	}
	if err := spec.LoadAndAssign(&p.objects, nil); err != nil {
		return err
	}
	p.egress, err = link.AttachTCX(link.TCXOptions{
		Interface: p.tun, Program: p.objects.Outgoing, Attach: ebpf.AttachTCXEgress,
	})
	if err != nil {
		return err
	}
	p.packets, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return os.NewSyscallError("socket", err)
}

// explain says what is needed. Without CAP_PERFMON the kernel's verifier denies the permission.
func explain(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return errors.New("the kernel path needs root, or the capabilities CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW")
	}
	return fmt.Errorf("the kernel path needs Linux 6.6 or later, with BPF and BTF: %w", err)
}

// Close ends the path. The program carries all packets from then on.
func (p *Path) Close() error {
	var errs []error
	for _, u := range p.uplinks {
		errs = append(errs, u.Close())
	}
	if p.egress != nil {
		errs = append(errs, p.egress.Close())
	}
	if p.packets >= 0 {
		errs = append(errs, unix.Close(p.packets))
	}
	return errors.Join(append(errs, p.objects.Close())...)
}

// Add has the kernel carry a flow, or changes one that it carries. remote is the endpoint of the peer's datagrams, heard the time of the
// last reception (RFC 4380 §5.2.4). introduce means that the uplink is a virtual link: the flow opens at the other end when
// a bubble that Send has sent arrives there.
func (p *Path) Add(f Flow, remote netip.AddrPort, heard time.Time) (introduce bool, err error) {
	up, source, err := p.uplink(remote.Addr())
	if err != nil {
		return false, err
	}
	if !up.physical {
		if inside, err := staysInside(f.Local); err != nil || !inside {
			return false, errors.Join(fmt.Errorf("%w for GSO and CHECKSUM_PARTIAL packets to %v", errNoUplink, f.Local), err)
		}
	}
	var value objectFlow
	if err := p.objects.Flows.Lookup(f.key(), &value); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, fmt.Errorf("look up a flow: %w", err)
	}
	to, toPort := ipv4(remote.Addr()), networkOrder(remote.Port())
	if value.Remote != to || value.RemotePort != toPort || value.Uplink != uint32(up.index) {
		value = objectFlow{Sent: value.Sent, Received: value.Received, SentBytes: value.SentBytes, ReceivedBytes: value.ReceivedBytes}
		if up.physical {
			value.Physical = true
		}
	}
	value.Open = value.Open || up.physical
	value.Local, value.LocalPort = ipv4(source), networkOrder(p.local.Port())
	value.Remote, value.RemotePort, value.Uplink = to, toPort, uint32(up.index)
	value.Heard = uint64(max(int64(value.Heard), int64(bootTime(heard))))
	native, translated := p.natives.Native(f.Peer)
	if translated {
		value.Native.In6U.U6Addr8 = native.As16()
	}
	if err := p.objects.Flows.Put(f.key(), &value); err != nil {
		return false, fmt.Errorf("add a flow: %w", err)
	}
	if translated {
		if err := p.objects.Clients.Put(Flow{f.Local, native}.key(), &f.key().Peer); err != nil {
			return false, errors.Join(fmt.Errorf("add a native address: %w", err), p.Remove(f))
		}
	}
	return !up.physical, nil
}

// Follow has the kernel take the program's word for when a packet that was left to it is sent (Out), or delivered (In). latest is the number of
// the latest such packet; done tells the kernel about all up to a number. Both may be called at any time, also after Close.
func (p *Path) Follow(direction Direction) (latest func() uint64, done func(uint64), err error) {
	var progress objectProgress
	at := func(field uintptr) int64 { return int64(uintptr(direction)*unsafe.Sizeof(progress) + field) }
	memory, err := p.objects.Progress.Memory()
	if err == nil {
		_, err = memory.WriteAt([]byte{1}, at(unsafe.Offsetof(progress.Follows)))
	}
	if err != nil {
		return nil, nil, fmt.Errorf("share memory with the kernel: %w", err)
	}
	latestAt, doneAt := at(unsafe.Offsetof(progress.Handed)), at(unsafe.Offsetof(progress.Done))
	var read, written [8]byte // of the goroutine that reads
	latest = func() uint64 {
		_, _ = memory.ReadAt(read[:], latestAt) // it is there
		return binary.NativeEndian.Uint64(read[:])
	}
	done = func(number uint64) {
		binary.NativeEndian.PutUint64(written[:], number)
		_, _ = memory.WriteAt(written[:], doneAt)
	}
	return latest, done, nil
}

// Shut has the program send the packets of a flow again. The kernel goes on delivering what comes. Over a virtual link the flow opens again
// when the other end shows that its kernel carries it, over others when it is added again.
func (p *Path) Shut(f Flow) error {
	var value objectFlow
	err := p.objects.Flows.Lookup(f.key(), &value)
	if err == nil {
		value.Open, value.Introduced = false, 0
		err = p.objects.Flows.Update(f.key(), &value, ebpf.UpdateExist)
	}
	if err != nil {
		return fmt.Errorf("shut a flow: %w", err)
	}
	return nil
}

// Remove has the program carry the packets of a flow again.
func (p *Path) Remove(f Flow) error {
	if native, ok := p.natives.Native(f.Peer); ok {
		if err := p.objects.Clients.Delete(Flow{f.Local, native}.key()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("remove a native address: %w", err)
		}
	}
	if err := p.objects.Flows.Delete(f.key()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove a flow: %w", err)
	}
	return nil
}

// Usage is what the kernel has carried of a flow.
func (p *Path) Usage(f Flow) (Usage, error) {
	var value objectFlow
	if err := p.objects.Flows.Lookup(f.key(), &value); err != nil {
		return Usage{}, fmt.Errorf("look up a flow: %w", err)
	}
	u := Usage{
		Sent: value.Sent, Received: value.Received, SentBytes: value.SentBytes, ReceivedBytes: value.ReceivedBytes,
		Heard: fromBootTime(value.Heard), Open: value.Open,
		NoBursts: time.Since(fromBootTime(value.Withheld)) < withheldRecently,
	}
	if u.NoBursts {
		p.tell(value.Remote)
	}
	return u, nil
}

// tell logs that datagrams without a UDP checksum do not reach an address, once for each of the first mostLogged addresses.
func (p *Path) tell(remote uint32) {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], remote)
	to := netip.AddrFrom4(b)
	if p.logged[to] || len(p.logged) == mostLogged {
		return
	}
	p.logged[to] = true
	p.log.Info("a NAT or firewall drops datagrams without a UDP checksum; the program carries TCP bursts instead of the kernel", "to", to)
}

// Capacity is how many flows the kernel carries at most.
func (p *Path) Capacity() int { return p.most }

// Failed is how many packets the kernel has dropped for want of memory.
func (p *Path) Failed() (n uint64, err error) {
	if err := p.objects.Failed.Get(&n); err != nil {
		return 0, fmt.Errorf("read a counter: %w", err)
	}
	return n, nil
}

// Send sends an IPv6 packet out of the TUN device, as if the local stack had made it.
func (p *Path) Send(packet []byte) error {
	to := unix.SockaddrLinklayer{Ifindex: p.tun, Protocol: networkOrder(unix.ETH_P_IPV6)}
	return os.NewSyscallError("sendto", unix.Sendto(p.packets, packet, 0, &to))
}

func (f Flow) key() *objectFlowKey {
	var k objectFlowKey
	k.Local.In6U.U6Addr8 = f.Local.As16()
	k.Peer.In6U.U6Addr8 = f.Peer.As16()
	return &k
}

// bootTime converts a time to the clock of the kernel's programs.
func bootTime(t time.Time) time.Duration {
	var now unix.Timespec
	// It has no way to fail.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	return time.Duration(now.Nano()) - time.Since(t)
}

// fromBootTime converts a time of that clock.
func fromBootTime(t uint64) time.Time { return time.Now().Add(time.Duration(t) - bootTime(time.Now())) }

// ipv4 and networkOrder return numbers that are in network order in memory.
func ipv4(a netip.Addr) uint32 {
	b := a.As4()
	return binary.NativeEndian.Uint32(b[:])
}

func networkOrder(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
