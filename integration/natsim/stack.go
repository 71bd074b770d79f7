package natsim

import (
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// dataPort is the UDP port of the packets that Send sends.
const dataPort = 9

// Stack is the IPv6 end of a host: enough of one to answer pings, and to send and receive UDP. All of a client's IPv6
// packets pass through its TUN device; a native host is attached to the native internet.
type Stack struct {
	in       *Internet
	id       int
	name     string
	addrs    []netip.Addr // the first is what it sends from
	past     []netip.Addr // all addresses it ever had, in order
	out      func(packet []byte)
	deaf     bool                     // does not answer pings
	refuse   func(ping []byte) []byte // the ICMPv6 error that a ping is answered with; nil: none
	received []Delivery
}

// Delivery is a packet that a stack received, but for pings and the numbered packets of a Stream.
type Delivery struct {
	At     time.Duration // since the scenario began
	Packet []byte
}

// Source is where the packet came from.
func (r Delivery) Source() netip.Addr { return teredo.Source(r.Packet) }

// Data is what Send or Ping was given on the other side; empty for other packets.
func (r Delivery) Data() string {
	if _, _, data, ok := parseData(r.Packet); ok {
		return string(data)
	}
	if e, err := teredo.ParseEcho(r.Packet); err == nil {
		return string(e.Data)
	}
	return ""
}

// Kind is that of Packet.Kind.
func (r Delivery) Kind() string { return nativePacket(r.Packet).Kind() }

func (in *Internet) newStack(name string, out func(packet []byte)) *Stack {
	return &Stack{in: in, id: in.id(), name: name, out: out}
}

// Addr is the stack's IPv6 address; invalid when it has none.
func (s *Stack) Addr() (addr netip.Addr) {
	s.in.do(func() { addr = s.addr() })
	return addr
}

func (s *Stack) addr() netip.Addr {
	if len(s.addrs) == 0 {
		return netip.Addr{}
	}
	return s.addrs[0]
}

// PastAddrs are all addresses that the stack ever had, in order.
func (s *Stack) PastAddrs() (addrs []netip.Addr) {
	s.in.do(func() { addrs = slices.Clone(s.past) })
	return addrs
}

// AwaitAddr waits until the stack has an address, and fails the test when that takes too long.
func (s *Stack) AwaitAddr(within time.Duration) netip.Addr {
	s.in.t.Helper()
	return s.AwaitOtherAddr(within, netip.Addr{})
}

// AwaitOtherAddr waits until the stack has an address, and another one than old.
func (s *Stack) AwaitOtherAddr(within time.Duration, old netip.Addr) (addr netip.Addr) {
	s.in.t.Helper()
	if !s.in.clock.await(within, func() bool { addr = s.addr(); return addr.IsValid() && addr != old }) {
		s.in.t.Fatalf("%s has no new IPv6 address at %v", s.name, s.in.Now())
	}
	return addr
}

// AwaitNoAddr waits until the stack has no address.
func (s *Stack) AwaitNoAddr(within time.Duration) {
	s.in.t.Helper()
	if !s.in.clock.await(within, func() bool { return !s.addr().IsValid() }) {
		s.in.t.Fatalf("%s still has an IPv6 address at %v", s.name, s.in.Now())
	}
}

// Configure replaces an address by another; either may be zero. It is what netcfg does to an interface.
func (s *Stack) Configure(old, new netip.Addr) error {
	s.in.clock.do(s.id, nil, func() {
		s.addrs = slices.DeleteFunc(s.addrs, func(a netip.Addr) bool { return a == old })
		if new.IsValid() {
			s.addrs, s.past = append(s.addrs, new), append(s.past, new)
		}
	})
	return nil
}

// Mute has the stack leave pings unanswered.
func (s *Stack) Mute() { s.in.do(func() { s.deaf = true }) }

// Refuse has pings to the stack answered with an ICMPv6 Destination Unreachable from an address.
func (s *Stack) Refuse(from netip.Addr, code uint8) {
	s.in.do(func() { s.refuse = func(ping []byte) []byte { return teredo.AppendUnreachable(nil, from, code, ping) } })
}

// Send sends data in a UDP packet.
func (s *Stack) Send(to netip.Addr, data string) {
	s.in.t.Helper()
	s.send(func(src netip.Addr) []byte {
		return dataPacket(netip.AddrPortFrom(src, dataPort), netip.AddrPortFrom(to, dataPort), []byte(data))
	})
}

// Ping sends an ICMPv6 Echo Request.
func (s *Stack) Ping(to netip.Addr, data string) {
	s.in.t.Helper()
	s.send(func(src netip.Addr) []byte { return teredo.AppendEchoRequest(nil, src, to, 1, 1, []byte(data)) })
}

func (s *Stack) send(packet func(src netip.Addr) []byte) {
	s.in.t.Helper()
	ok := false
	s.in.do(func() {
		if src := s.addr(); src.IsValid() {
			ok = true
			s.out(packet(src))
		}
	})
	if !ok {
		s.in.t.Fatalf("%s has no IPv6 address to send from at %v", s.name, s.in.Now())
	}
}

// SendPacket sends an IPv6 packet as it is.
func (s *Stack) SendPacket(packet []byte) { s.in.do(func() { s.out(slices.Clone(packet)) }) }

// Next waits for the next packet, and fails the test when none comes in time.
func (s *Stack) Next(within time.Duration) Delivery {
	s.in.t.Helper()
	r, ok := s.Await(within)
	if !ok {
		s.in.t.Fatalf("%s has received nothing at %v", s.name, s.in.Now())
	}
	return r
}

// Await waits for the next packet, and reports false when none comes in time.
func (s *Stack) Await(within time.Duration) (r Delivery, ok bool) {
	if !s.in.clock.await(within, func() bool { return len(s.received) > 0 }) {
		return Delivery{}, false
	}
	r, s.received = s.received[0], s.received[1:]
	return r, true
}

// Received returns the packets that were received and that nobody has taken yet, and takes them.
func (s *Stack) Received() (all []Delivery) {
	s.in.do(func() { all, s.received = s.received, nil })
	return all
}

// receive takes a packet. Those that are for somebody else are dropped, as a host does.
func (s *Stack) receive(packet []byte) {
	if len(packet) < teredo.HeaderLen || !slices.Contains(s.addrs, teredo.Destination(packet)) {
		return
	}
	if teredo.IsICMPv6Type(packet, teredo.ICMPv6EchoRequest) {
		if s.refuse != nil {
			s.out(s.refuse(packet))
		} else if reply := teredo.AppendEchoReply(nil, teredo.Destination(packet), packet); len(reply) > 0 && !s.deaf {
			s.out(reply)
		}
		return
	}
	if src, dst, data, ok := parseData(packet); ok && src.Port() == streamPort {
		s.in.streamed(dst.Port(), data)
		return
	}
	s.received = append(s.received, Delivery{At: s.in.Now(), Packet: packet})
}
