package peer_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// a client behind a symmetric NAT is heard from another port than its address says, once it has answered to the
// address that the bubble to it came from; from nowhere else, and never from another IPv4 address.
func TestRelayAndSymmetricNAT(t *testing.T) {
	moved := netip.AddrPortFrom(peerMapped.Addr(), peerMapped.Port()+7)
	elsewhere := netip.MustParseAddrPort("192.0.2.99:4000")
	r, _ := relayRig(t)
	r.outgoing(data(host, other, 1))
	asked := teredo.Source(r.out.UDP.Datagrams()[0].Payload)
	r.report()

	r.want(r.receive(moved, bubble(other, relayLL)), "drop 1 source")   // not an answer to our bubble
	r.want(r.receive(moved, data(other, host, 1)), "drop 1 source")     // no proof at all
	r.want(r.receive(elsewhere, bubble(other, asked)), "drop 1 source") // somebody else's address
	r.want(r.receive(moved, bubble(own, asked)), "drop 1 source")       // another client
	got := r.receive(moved, bubble(other, asked))
	r.want(got, "data 1 host>other to "+moved.String())
	r.want(r.receive(moved, data(other, host, 2)), "deliver data 2 other>host")
	r.want(r.send(data(host, other, 3)), "data 3 host>other to "+moved.String())
	r.want(r.receive(peerMapped, bubble(other, relayLL))) // the mapping in the address is good as well (R-RX-02)
}

// Each client sees the relay at an address that does not tell the one another client sees.
func TestRelaySourcesDiffer(t *testing.T) {
	r, _ := relayRig(t)
	seen := map[netip.Addr]bool{}
	for _, dst := range []netip.Addr{own, other} {
		r.outgoing(data(host, dst, 1))
	}
	for _, d := range r.out.UDP.Datagrams() {
		src := teredo.Source(d.Payload)
		if !src.IsLinkLocalUnicast() || seen[src] {
			t.Errorf("bubble from %v", src)
		}
		seen[src] = true
	}
	if len(seen) != 2 {
		t.Errorf("%d bubbles, want 2", len(seen))
	}
}

// R-TX-07: a relay behind a NAT opens it with a direct bubble.
func TestRelayBehindNAT(t *testing.T) {
	r, m := relayRig(t)
	m.SetBehindNAT(true)
	r.want(r.send(data(host, other, 1)), "bubble relay>other to peer-server", "bubble relay>other to other")
}
