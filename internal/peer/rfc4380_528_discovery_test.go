package peer_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

var (
	lan       = netip.MustParsePrefix("10.0.0.0/24")
	nearAt    = netip.MustParseAddrPort("10.0.0.7:4000")
	nearby    = teredo.Address{Server: peerServer.Addr(), Flags: 7, Mapped: netip.MustParseAddrPort("192.0.2.1:5000")}.Addr()
	multicast = "224.0.0.253:3544"
)

// lanRig is a client with local discovery on, after its first discovery bubble.
func lanRig(t testing.TB) (*rig, *peer.Client) {
	r, c := clientRig(t)
	c.SetSubnets([]netip.Prefix{lan})
	c.SetDiscovery(r.now, true)
	r.want(r.wait(time.Second), "0s bubble own>ff02::1 to "+multicast)
	return r, c
}

// discovered gives a payload that came by multicast to the client.
func (r *rig) discovered(c *peer.Client, from netip.AddrPort, payload []byte) []string {
	r.Helper()
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		r.Fatal(err)
	}
	c.Discovered(r.now, from, &p, &r.out)
	return r.report()
}

func announcement(src netip.Addr) []byte { return teredo.AppendBubble(nil, src, teredo.AllNodes(), 1) }

var greeting = "bubble own>" + nearby.String() + " to " + nearAt.String()

// C-LOC-02, K-13, W-DISC-01: discovery bubbles leave every 200 to 300 s, at moments that differ; none while it is off or
// there is no address (C-LOC-01).
func TestDiscoveryBubbles(t *testing.T) {
	r, c := lanRig(t)
	gaps := map[time.Duration]bool{}
	last := r.now.Add(-time.Second)
	for range 50 {
		at, ok := r.m.Deadline()
		gap := at.Sub(last)
		if !ok || gap < 200*time.Second || gap > 300*time.Second {
			t.Fatalf("the next bubble is due after %v", gap)
		}
		gaps[gap], last = true, at
		r.wait(at.Sub(r.now) - 1)
		r.want(r.wait(1), "1ns bubble own>ff02::1 to "+multicast)
	}
	if len(gaps) < 40 {
		t.Errorf("only %d different gaps", len(gaps))
	}
	c.SetAddress(netip.Addr{})
	r.want(r.wait(time.Hour))
	c.SetAddress(own)
	r.want(r.wait(time.Second), "0s bubble own>ff02::1 to "+multicast)
	c.SetAddress(other) // news for the neighbours
	r.want(r.wait(time.Second), "0s bubble other>ff02::1 to "+multicast)
	c.SetDiscovery(r.now, false)
	r.want(r.wait(time.Hour))
}

// C-LOC-04: whose announcements are not taken. C-LOC-08: our own come back, and are no news.
func TestDiscoveryRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		from    string
		payload []byte
		want    []string
	}{
		"another subnet":    {"10.0.1.7:4000", announcement(nearby), []string{"drop 1 source"}},
		"a global address":  {"192.0.2.1:5000", announcement(nearby), []string{"drop 1 source"}},
		"port 0":            {"10.0.0.7:0", announcement(nearby), []string{"drop 1 source"}},
		"the broadcast":     {"10.0.0.255:4000", announcement(nearby), []string{"drop 1 source"}},
		"a native source":   {"10.0.0.7:4000", announcement(host), []string{"drop 1 source"}},
		"link-local source": {"10.0.0.7:4000", announcement(relayLL), []string{"drop 1 source"}},
		"data":              {"10.0.0.7:4000", data(nearby, teredo.AllNodes(), 1), []string{"drop 1 not-allowed"}},
		"to us":             {"10.0.0.7:4000", bubble(nearby, own), []string{"drop 1 not-allowed"}},
		"our own":           {"10.0.0.1:4096", announcement(own), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := lanRig(t)
			filter := labs
			filter.Broadcasts = []netip.Addr{netip.MustParseAddr("10.0.0.255")}
			m.SetFilter(filter)
			r.want(r.discovered(m, netip.MustParseAddrPort(c.from), c.payload), c.want...)
			if m.Len() != 0 {
				t.Error("it left an entry")
			}
		})
	}
	r, c := lanRig(t)
	c.SetDiscovery(r.now, false)
	r.want(r.discovered(c, nearAt, announcement(nearby)), "drop 1 not-qualified")
}

// ST-C-05, C-LOC-06, C-LOC-07, C-LOC-08, C-RX-13, C-RX-14: an announcement is answered straight, within the limits of bubbles, and
// gives no trust; a packet straight from the same place does.
func TestDiscoveredPeer(t *testing.T) {
	r, c := lanRig(t)
	r.want(r.discovered(c, nearAt, announcement(nearby)), greeting)
	r.want(r.discovered(c, nearAt, announcement(nearby)))
	r.want(r.receive(netip.MustParseAddrPort("10.0.0.8:4000"), data(nearby, own, 1)), "drop 1 not-global")
	r.want(r.receive(nearAt, data(other, own, 1)), "drop 1 not-global")
	r.want(r.send(data(own, nearby, 2)))
	r.wait(time.Millisecond)
	r.want(r.receive(nearAt, bubble(nearby, own)), "data 2 own>"+nearby.String()+" to "+nearAt.String())
	r.want(r.receive(nearAt, data(nearby, own, 3)), "deliver data 3 "+nearby.String()+">own")

	for range 4 { // C-BUB-04 binds the answers
		r.wait(3 * time.Second)
		r.want(r.discovered(c, nearAt, announcement(nearby)), greeting)
	}
	r.wait(3 * time.Second)
	r.want(r.discovered(c, nearAt, announcement(nearby)))
}

// C-TX-03: a local peer is looked for on the subnet first, then the usual way.
func TestSearchForLocalPeer(t *testing.T) {
	r, c := lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	r.wait(20 * time.Second)
	r.want(r.send(data(own, nearby, 1)), "bubble own>ff02::1 to "+multicast, greeting)
	usual := []string{"bubble own>" + nearby.String() + " to 192.0.2.1:5000", "bubble own>" + nearby.String() + " to peer-server"}
	r.want(r.wait(20*time.Second), "2s bubble own>ff02::1 to "+multicast, "2s "+greeting, "4s "+usual[0], "4s "+usual[1],
		"6s deliver unreachable server>own, data 1 own>"+nearby.String(), "6s drop 1 no-path") // four in 300 s, with the greeting
}

// A direct bubble that answers an indirect one goes to the mapping in the address, also when the path is the local one, unless
// bubbles carry nonces.
func TestDirectBubbleToLocalPeer(t *testing.T) {
	r, c := lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	r.wait(time.Second)
	r.receive(nearAt, bubble(nearby, own))
	r.wait(3 * time.Second)
	got := r.receive(server, via(peerServer, bubble(nearby, own)))
	if want := "bubble own>" + nearby.String() + " to 192.0.2.1:5000"; len(got) != 3 || got[0] != want {
		t.Errorf("%q, want first %q", got, want)
	}
}

// C-TX-08: for a local peer its own endpoint may be non-global, but nothing else that its address says.
func TestLocalPeerWithNonGlobalAddress(t *testing.T) {
	r, c := lanRig(t)
	odd := teredo.Address{Server: netip.MustParseAddr("127.0.0.1"), Mapped: netip.MustParseAddrPort("10.9.9.9:9")}.Addr()
	greeting := "bubble own>" + odd.String() + " to " + nearAt.String()
	r.want(r.discovered(c, nearAt, announcement(odd)), greeting)
	r.wait(20 * time.Second)
	r.want(r.send(data(own, odd, 1)), "bubble own>ff02::1 to "+multicast, greeting)
	r.want(r.wait(20*time.Second), "2s bubble own>ff02::1 to "+multicast, "2s "+greeting,
		"4s deliver unreachable server>own, data 1 own>"+odd.String(), "4s drop 1 no-path")
}

// K-08: what a peer announced counts for 600 s, and as long as its subnet is attached.
func TestLocalPeerExpires(t *testing.T) {
	usual := []string{"bubble own>" + nearby.String() + " to 192.0.2.1:5000", "bubble own>" + nearby.String() + " to peer-server"}
	r, c := lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	r.wait(100 * time.Second)
	c.SetSubnets([]netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")})
	r.want(r.receive(nearAt, bubble(nearby, own)), "drop 1 not-global")
	r.want(r.send(data(own, nearby, 1)), usual...)

	r, c = lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	for range 3 { // a use now and then keeps the entry
		r.wait(190 * time.Second)
		r.receive(nearAt, bubble(nearby, own))
		r.send(data(own, nearby, 1))
	}
	r.wait(31 * time.Second) // 601 s
	r.want(r.send(data(own, nearby, 2)), usual...)
}

// A path on the subnet stays in use when the peer ceases to announce itself, also by what only the slow path sees.
func TestLocalPathOutlivesAnnouncement(t *testing.T) {
	r, c := lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	r.receive(nearAt, bubble(nearby, own))
	for range 40 { // 800 s
		r.wait(20 * time.Second)
		r.want(r.send(data(own, nearby, 1)), "data 1 own>"+nearby.String()+" to "+nearAt.String(),
			"test own>"+nearby.String()+" to "+nearAt.String())
		r.want(r.receive(nearAt, r.reply()))
	}
}

// C-RX-06: an indirect bubble of a neighbour that does not know of us is answered on the subnet too.
func TestIndirectBubbleOfLocalPeer(t *testing.T) {
	r, c := lanRig(t)
	r.discovered(c, nearAt, announcement(nearby))
	r.wait(10 * time.Second)
	r.want(r.receive(server, bubble(nearby, own)),
		"bubble own>"+nearby.String()+" to 192.0.2.1:5000", "bubble own>"+nearby.String()+" to peer-server",
		"bubble own>ff02::1 to "+multicast, greeting)
	r.want(r.receive(server, bubble(nearby, own)))
	// Its bubble on the subnet tells us a path, which it does not have yet: the next indirect one is answered there too.
	r.want(r.receive(nearAt, bubble(nearby, own)))
	r.wait(4 * time.Second)
	if got := r.receive(server, bubble(nearby, own)); !slices.Contains(got, greeting) {
		t.Errorf("it is answered with %q", got)
	}
}
