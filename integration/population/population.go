//go:build linux

// Package population answers as very many Teredo clients of one relay at once, as Miredo's teredo-mire does: a client for each
// address and each port of a range of IPv4 addresses. It keeps nothing for a client. What a client answers follows from the packet
// alone: its own address is the packet's destination.
//
// A client answers the bubbles that its server passes on with a direct bubble, ICMPv6 Echo Requests, and UDP datagrams at the ports of
// echo (RFC 862) and discard (RFC 863). It does not test the path to a native host before it answers.
package population

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// Range are the public IPv4 addresses of the clients. It is the range that RFC 2544 has for benchmarks.
const Range = "198.18.0.0/15"

// PerPort is how many addresses the range has, and so how many clients have the same port.
const PerPort = 1 << 17

const firstPort = 40000

// UDP ports that every client answers at.
const (
	EchoPort    = 7
	DiscardPort = 9
)

const (
	router = "100.64.0.1"
	self   = "100.64.0.2"

	patience = 30 * time.Second
)

// AddHost adds a host behind the lab's router that has every address of the range. One local route makes it so (AnyIP).
func AddHost(l *lab.Lab) (*lab.Host, error) {
	h, err := l.AddHost("inet", "population", router+"/30", self+"/30")
	if err != nil {
		return nil, err
	}
	if _, err := l.Host("inet").Run(patience, "ip", "route", "add", Range, "via", self); err != nil {
		return nil, err
	}
	if _, err := h.Run(patience, "ip", "route", "add", "local", Range, "dev", "lo"); err != nil {
		return nil, err
	}
	// The kernel has no UDP socket for most of what comes. It must not tell the senders.
	_, err = h.Run(patience, "nft", "table ip population { chain output { "+
		"type filter hook output priority filter; icmp type destination-unreachable drop; }; }")
	return h, err
}

// Mapped is the mapped address and port of the n-th client.
func Mapped(n int) netip.AddrPort {
	const first = 198<<24 | 18<<16
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], first|uint32(n%PerPort))
	return netip.AddrPortFrom(netip.AddrFrom4(a), uint16(firstPort+n/PerPort))
}

// Client is the Teredo address of the n-th client of a server.
func Client(server netip.Addr, n int) netip.Addr {
	return teredo.Address{Server: server, Mapped: Mapped(n)}.Addr()
}

// Counts are how many packets clients have received.
type Counts struct {
	Bubbles   uint64 // through their server, and answered
	Echoes    uint64 // answered
	Discarded uint64
	Others    uint64 // not answered
}

// Population is the clients. They share a raw socket, which receives for every address and every port of the host.
type Population struct {
	conn                               *ipv4.PacketConn
	bubbles, echoes, discarded, others atomic.Uint64
	failed                             error         // why it has ended
	ended                              chan struct{} // closed then
}

// Start has the clients answer on a host that AddHost has made.
func Start(h *lab.Host) (*Population, error) {
	var conn net.PacketConn
	if err := h.Do(func() (err error) {
		conn, err = net.ListenPacket("ip4:udp", "0.0.0.0")
		return err
	}); err != nil {
		return nil, fmt.Errorf("open a raw socket on %s: %w", h.Name, err)
	}
	if err := prepare(conn.(*net.IPConn)); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare the raw socket on %s: %w", h.Name, err), conn.Close())
	}
	p := &Population{conn: ipv4.NewPacketConn(conn), ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.failed = p.answer()
	}()
	return p, nil
}

// prepare gives a raw socket room for bursts, and has it take IPv4 headers from us.
func prepare(conn *net.IPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	const room = 64 << 20
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_HDRINCL, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, room))
	})
	return errors.Join(err, failed)
}

// Close silences the clients until the next Start.
func (p *Population) Close() error {
	err := p.conn.Close()
	<-p.ended
	if !errors.Is(p.failed, net.ErrClosed) {
		err = errors.Join(err, p.failed)
	}
	return err
}

// Counts are how many packets clients have received so far.
func (p *Population) Counts() Counts {
	return Counts{p.bubbles.Load(), p.echoes.Load(), p.discarded.Load(), p.others.Load()}
}

// answer answers what comes until the socket is closed.
func (p *Population) answer() error {
	in := make([]ipv4.Message, Burst)
	for i := range in {
		in[i].Buffers = [][]byte{make([]byte, 1<<16)}
	}
	var out letters
	for {
		n, err := p.conn.ReadBatch(in, 0)
		if err != nil {
			return err
		}
		for _, m := range in[:n] {
			from, to, payload, ok := parse(m.Buffers[0][:m.N])
			if !ok {
				p.others.Add(1)
				continue
			}
			p.datagram(from, to, payload, &out)
		}
		if err := out.send(p.conn); err != nil {
			return err
		}
	}
}

// datagram handles a UDP payload. Over a virtual link the kernel may hand over several datagrams of one sender as one. Each of them
// is nothing but an IPv6 packet, so the packets lie one behind the other.
func (p *Population) datagram(from, to netip.AddrPort, payload []byte, out *letters) {
	for len(payload) > 0 {
		var pkt teredo.Packet
		if pkt.Parse(payload) != nil {
			p.others.Add(1)
			return
		}
		p.packet(from, to, &pkt, out)
		payload = pkt.Trailers
	}
}

// packet handles what a client has received at its mapped address and port.
func (p *Population) packet(from, mapped netip.AddrPort, pkt *teredo.Packet, out *letters) {
	client := teredo.Destination(pkt.IPv6)
	if teredo.Mapped(client) != mapped {
		p.others.Add(1)
		return
	}
	switch {
	case teredo.IsBubble(pkt.IPv6) && pkt.Origin.IsValid():
		p.bubbles.Add(1)
		out.add(mapped, pkt.Origin, func(b []byte) []byte {
			return teredo.AppendBubble(b, client, teredo.Source(pkt.IPv6), 255)
		})
	case teredo.IsBubble(pkt.IPv6): // a direct one, as from a relay that hands a flow over to its kernel; it wants no answer
	case teredo.IsICMPv6Type(pkt.IPv6, teredo.ICMPv6EchoRequest):
		p.echoes.Add(1)
		out.add(mapped, from, func(b []byte) []byte { return teredo.AppendEchoReply(b, client, pkt.IPv6) })
	case udpPort(pkt.IPv6) == EchoPort:
		p.echoes.Add(1)
		out.add(mapped, from, func(b []byte) []byte { return appendReturned(b, pkt.IPv6) })
	case udpPort(pkt.IPv6) == DiscardPort:
		p.discarded.Add(1)
	default:
		p.others.Add(1)
	}
}

// Speak has clients send a packet each to a native host by way of a relay. The host ignores it: it is an echo reply that the host has
// not asked for.
func (p *Population) Speak(server netip.Addr, first, count int, relay netip.AddrPort, native netip.Addr) error {
	var out letters
	var request [64]byte
	for n := range count {
		client := Client(server, first+n)
		out.add(Mapped(first+n), relay, func(b []byte) []byte {
			return teredo.AppendEchoReply(b, client, teredo.AppendEchoRequest(request[:0], native, client, 1, 1, nil))
		})
	}
	return out.send(p.conn)
}
