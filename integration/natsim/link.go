package natsim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// defaultDelay is the delay of the links to the public internet and to the native one: two hosts there are twice as far
	// from each other. Links to a LAN have none.
	defaultDelay = 10 * time.Millisecond
	// lanDelay is the delay between two hosts of a LAN. Between a host and the NAT there is none, which keeps sums simple.
	lanDelay = time.Millisecond
)

// Link describes what happens to packets between a network and what is attached to it, in both directions.
type Link struct {
	Delay       time.Duration
	Jitter      time.Duration // up to this much is added to the delay of each packet, so that packets overtake each other
	Loss        float64       // probability for each packet, or fragment, 0 to 1
	Duplicate   float64       // probability, 0 to 1
	MTU         int           // larger IPv4 datagrams are fragmented; 0: no limit
	NoFragments bool          // larger datagrams are lost instead
	Down        bool          // everything is lost
}

// port is where a host or the outside of a NAT is attached to a network.
type port struct {
	in      *Internet
	name    string
	net     *Network // nil while it is unplugged
	addrs   []netip.Addr
	link    Link
	rand    *rand.Rand
	receive func(Packet)
	relay   *port          // of a native host: where its packets to clients go
	routes  []netip.Prefix // of a relay: what the native internet sends there
}

func (in *Internet) newPort(name string, delay time.Duration, receive func(Packet)) *port {
	return &port{in: in, name: name, link: Link{Delay: delay}, rand: rand.New(in.source(in.id())), receive: receive}
}

// cross carries a packet over the link of the port. Whatever arrives is given to then.
func (p *port) cross(packet Packet, then func(Packet)) {
	l := p.link
	copies := 1
	if l.Duplicate > 0 && p.rand.Float64() < l.Duplicate {
		copies = 2
	}
	for range copies {
		if why := l.loses(packet, p.rand); why != "" {
			p.in.trace.add(p.name, Dropped, why, packet)
			continue
		}
		delay := l.Delay
		if l.Jitter > 0 {
			delay += time.Duration(p.rand.Int64N(int64(l.Jitter)))
		}
		p.in.clock.after(delay, func() { then(packet) })
	}
}

// loses returns why the link loses a packet, if it does. A fragmented packet is lost with any of its fragments.
func (l Link) loses(packet Packet, rand *rand.Rand) string {
	if l.Down {
		return "link down"
	}
	fragments := l.fragments(packet)
	if fragments > 1 && l.NoFragments {
		return "fragmented"
	}
	for range fragments {
		if l.Loss > 0 && rand.Float64() < l.Loss {
			return "lost"
		}
	}
	return ""
}

// fragments returns how many packets an IPv4 datagram becomes by the link's MTU (RFC 791 §3.2). IPv6 packets are never split;
// they are small enough on any link (RFC 8200 §5).
func (l Link) fragments(packet Packet) int {
	const ipv4Header, udpHeader = 20, 8
	size := udpHeader + len(packet.Payload)
	if l.MTU == 0 || packet.Native() || ipv4Header+size <= l.MTU {
		return 1
	}
	each := (l.MTU - ipv4Header) &^ 7
	return (size + each - 1) / each
}

// Rule drops one packet.
type Rule struct {
	in      *Internet
	on      *Network // where; nil: as it leaves its host
	matches func(Packet) bool
	after   int // packets that match and are not to be dropped
	dropped bool
}

// Drop loses the n-th packet (1 is the first) that a host sends from now on and that matches. The function that matches is
// called by the clock, so it must not call methods of the internet and what is in it.
func (in *Internet) Drop(n int, matches func(Packet) bool) *Rule {
	return in.rule(&Rule{in: in, matches: matches, after: n - 1})
}

// Lose is Drop for packets on the wire of the network, with the addresses that they have there: those from behind a NAT have
// left it already.
func (n *Network) Lose(nth int, matches func(Packet) bool) *Rule {
	return n.in.rule(&Rule{in: n.in, on: n, matches: matches, after: nth - 1})
}

func (in *Internet) rule(r *Rule) *Rule {
	in.do(func() { in.rules = append(in.rules, r) })
	return r
}

// Dropped reports whether the rule has dropped its packet.
func (r *Rule) Dropped() (dropped bool) {
	r.in.do(func() { dropped = r.dropped })
	return dropped
}

// Cancel ends the rule, whether it has dropped a packet or not.
func (r *Rule) Cancel() {
	r.in.do(func() { r.in.rules = slices.DeleteFunc(r.in.rules, func(o *Rule) bool { return o == r }) })
}

// Any matches every packet.
func Any(Packet) bool { return true }

// Kind matches packets of a kind, see Packet.Kind.
func Kind(kind string) func(Packet) bool {
	return func(p Packet) bool { return p.Kind() == kind }
}

// ruledOut reports whether a rule drops the packet, on the wire of a network or as it leaves its host (nil).
func (in *Internet) ruledOut(on *Network, p Packet) bool {
	for _, r := range in.rules {
		switch {
		case r.on != on || r.dropped || !r.matches(p):
		case r.after > 0:
			r.after--
		default:
			r.dropped = true
			return true
		}
	}
	return false
}
