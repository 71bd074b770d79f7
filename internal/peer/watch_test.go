package peer_test

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// watch is what an onlooker knows of the traffic between a node and one Teredo peer. The limits of RFC 4380 §5.2.6 are
// checked with it, apart from the code that keeps them.
type watch struct {
	bubbles  []time.Duration // one for each moment at which bubbles left, since the last direct response
	last     time.Duration   // last transmission; of a relay, the last bubble
	any      bool            // there was one
	moment   time.Duration   // of the last bubble
	atMoment int             // bubbles at it
}

func (n *node) watch(a netip.Addr) *watch {
	w := n.watches[a]
	if w == nil {
		w = &watch{moment: -1}
		n.watches[a] = w
	}
	return w
}

// heard notes a direct response: a well-formed packet of the peer straight from its mapping.
func (n *node) heard(from netip.AddrPort, payload []byte) {
	var p teredo.Packet
	if p.Parse(payload) != nil {
		return
	}
	src := teredo.Source(p.IPv6)
	if teredo.IsTeredo(src) && teredo.Mapped(src) == from && (n.client == nil || teredo.Destination(p.IPv6) == n.own) {
		n.watch(src).bubbles = nil
	}
}

// sent checks a datagram that leaves a node.
func (n *node) sent(to netip.AddrPort, payload []byte) {
	if !public(to) {
		n.Fatalf("%v: %s sends to %v", n.now, n.name, to)
	}
	if err := teredo.CheckIPv6(payload); err != nil {
		n.Fatalf("%v: %s sends %x: %v", n.now, n.name, payload, err)
	}
	src, dst := teredo.Source(payload), teredo.Destination(payload)
	if n.client != nil && src != n.own {
		n.Fatalf("%v: %s sends as %v", n.now, n.name, src)
	}
	switch {
	case teredo.IsBubble(payload):
		if teredo.IsTeredo(dst) {
			n.sentBubble(dst, to)
		}
		return
	case teredo.IsTeredo(dst):
		if to != teredo.Mapped(dst) {
			n.Fatalf("%v: %s sends to %v at %v", n.now, n.name, dst, to)
		}
		if n.client != nil {
			w := n.watch(dst)
			w.last, w.any = n.now, true
		}
	case n.packet(payload) != nil && to != n.hosts[dst].mapped:
		n.Fatalf("%v: %s sends to %v by way of %v", n.now, n.name, dst, to)
	}
}

// sentBubble checks the 2 s between bubbles and the four in 300 s. A pair of a direct and an indirect one counts once
//
func (n *node) sentBubble(dst netip.Addr, to netip.AddrPort) {
	if indirect := netip.AddrPortFrom(teredo.ServerOf(dst), teredo.Port); to != indirect && to != teredo.Mapped(dst) {
		n.Fatalf("%v: %s sends a bubble for %v to %v", n.now, n.name, dst, to)
	}
	if n.unwatched {
		return
	}
	w := n.watch(dst)
	if w.moment == n.now {
		if w.atMoment++; w.atMoment > 2 {
			n.Fatalf("%v: %s sends %d bubbles for %v at once", n.now, n.name, w.atMoment, dst)
		}
		return
	}
	if w.any && n.now-w.last < 2*time.Second {
		n.Fatalf("%v: %s sends a bubble for %v, %v after the last transmission", n.now, n.name, dst, n.now-w.last)
	}
	recent := 1
	for _, b := range w.bubbles {
		if n.now-b < 300*time.Second {
			recent++
		}
	}
	if recent > 4 {
		n.Fatalf("%v: %s sends %d bubbles for %v without a response: %v", n.now, n.name, recent, dst, w.bubbles)
	}
	w.bubbles = append(w.bubbles, n.now)
	w.moment, w.atMoment, w.last, w.any = n.now, 1, n.now, true
}

// public is the test of RFC 4380 §5.2.4 and RFC 6890 in other words than those of teredo.Filter. The documentation ranges
// are what this internet is made of.
func public(a netip.AddrPort) bool {
	ip, b := a.Addr(), a.Addr().As4()
	return a.Port() != 0 && !ip.IsPrivate() && !ip.IsLoopback() && !ip.IsLinkLocalUnicast() && b[0] != 0 && b[0] < 224 &&
		(b[0] != 100 || b[1] < 64 || b[1] > 127) && (b[0] != 198 || b[1] != 18 && b[1] != 19) &&
		(b[0] != 192 || b[1] != 88 || b[2] != 99) && (b[0] != 192 || b[1] != 0 || b[2] != 0)
}

// delivered checks a data packet that has arrived: as often as the net made it at most, and in the order of its flow when
// the net keeps that.
func (in *internet) delivered(ipv6 []byte) {
	p := in.packet(ipv6)
	if p == nil {
		return
	}
	id := binary.BigEndian.Uint32(ipv6[40:])
	if teredo.Source(ipv6) != p.src || teredo.Destination(ipv6) != p.dst {
		return // an attacker's
	}
	if p.delivered++; p.delivered > p.copies {
		in.Fatalf("%v: packet %d is delivered %d times, made %d times", in.now, id, p.delivered, p.copies)
	}
	flow := [2]netip.Addr{p.src, p.dst}
	if !in.reorder && id < in.flows[flow] {
		in.Fatalf("%v: packet %d comes after %d", in.now, id, in.flows[flow])
	}
	in.flows[flow] = id
}

// settled checks that nothing is left to do some time after the last packet.
func (in *internet) settled() {
	for _, n := range in.nodes {
		if err := n.m.Check(); err != nil {
			in.Fatalf("%v: %s: %v", in.now, n.name, err)
		}
		if n.m.Held() != 0 || n.m.Waiting() != 0 {
			in.Fatalf("%v: %s still holds %d bytes and has %d searches", in.now, n.name, n.m.Held(), n.m.Waiting())
		}
	}
}

// forgotten checks that the nodes are as they were in the beginning.
func (in *internet) forgotten() {
	for _, n := range in.nodes {
		if at, ok := n.m.Deadline(); ok || n.m.Len() != 0 {
			in.Fatalf("%v: %s has %d entries, and wants to be called at %v", in.now, n.name, n.m.Len(), at.Sub(epoch))
		}
	}
}
