package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// reduced is server load reduction with nonces, so that paths lead elsewhere than addresses say.
var reduced = peer.Extensions{SymmetricNAT: true, LoadReduction: true}

// idleRig is a client with a path to the peer that was last used so long ago.
func idleRig(t testing.TB, e peer.Extensions, at netip.AddrPort, ago time.Duration) *rig {
	r, _, _ := extendedRig(t, e, restrictedNAT)
	r.send(data(own, other, 1))
	r.wait(10 * time.Millisecond)
	if got := r.receive(at, with(nonce(r.lastNonce()))); len(got) != 1 {
		r.Fatalf("%q", got)
	}
	r.want(r.wait(ago))
	return r
}

// X-SLR-01, X-SLR-02, X-SLR-04, ST-X-06, A-32, K-16: data for an idle path waits while three solicitations go out, at 0, 2 and 4 s, then an indirect
// bubble, as if nothing had been established: it is the first that counts, and two pairs follow.
func TestSolicitation(t *testing.T) {
	r := idleRig(t, reduced, peerMoved, 30*time.Second)
	const solicitation = "bubble own>other to 192.0.2.10:9999, solicits"
	r.want(r.send(data(own, other, 2)), solicitation)
	r.want(r.send(data(own, other, 3)))
	r.want(r.wait(30*time.Second), "2s "+solicitation, "4s "+solicitation, "4s bubble own>other to peer-server, nonce n2",
		"6s bubble own>other to other", "6s bubble own>other to peer-server, nonce n3",
		"8s bubble own>other to other", "8s bubble own>other to peer-server, nonce n4",
		"10s "+unreachable(2)[0], "10s "+unreachable(3)[0], "10s drop 2 no-path")
	r.want(r.send(data(own, other, 4)), "bubble own>other to other", "bubble own>other to peer-server, nonce n5")
	r.want(r.wait(10*time.Second), "2s "+unreachable(4)[0], "2s "+unreachable(4)[1])
	r.want(r.send(data(own, other, 5)), unreachable(5)...)
}

// X-SLR-01, K-19: 1 ns less than 30 s is not idle, and data that comes is as good as data that goes.
func TestSolicitationNotYet(t *testing.T) {
	r := idleRig(t, reduced, peerMoved, 30*time.Second-1)
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9999", "test own>other to 192.0.2.10:9999")
	r = idleRig(t, reduced, peerMoved, 20*time.Second)
	r.receive(peerMoved, data(other, own, 2))
	r.wait(15 * time.Second)
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:9999")
}

// X-SLR-04, A-32: whatever the peer sends directly, the search is over, and the data leaves.
func TestSolicitationAnswered(t *testing.T) {
	for name, answer := range map[string][]byte{
		"an advertisement": with(discovery(teredo.DiscoveryAdvertisement)), "a bubble": bubble(other, own), "data": data(other, own, 9),
	} {
		for _, after := range []time.Duration{time.Millisecond, 3 * time.Second, 5 * time.Second} {
			t.Run("X-SLR-04: "+name, func(t *testing.T) {
				r := idleRig(t, reduced, peerMapped, time.Minute)
				r.send(data(own, other, 2))
				r.wait(after)
				if got := r.receive(peerMapped, answer); len(got) == 0 || got[0] != "data 2 own>other to other" {
					t.Errorf("%q", got)
				}
				r.want(r.wait(time.Minute))
			})
		}
	}
	// The next time there are three solicitations again.
	r := idleRig(t, reduced, peerMapped, time.Minute)
	for n := range uint32(3) {
		const solicitation = "bubble own>other to other, solicits"
		r.want(r.send(data(own, other, n)), solicitation)
		r.want(r.wait(3*time.Second), "2s "+solicitation)
		r.receive(peerMapped, bubble(other, own))
		r.wait(time.Minute)
	}
	// When only the indirect bubble got through, its answer has the nonce.
	r = idleRig(t, reduced, peerMoved, time.Minute)
	r.send(data(own, other, 2))
	r.wait(5 * time.Second)
	again := netip.MustParseAddrPort("192.0.2.10:9001")
	r.want(r.receive(again, with(nonce(r.lastNonce()))), "data 2 own>other to 192.0.2.10:9001")
}

// X-SLR-03, K-09: a solicitation is answered on the peer's path by an advertisement, within the limits; an advertisement never is.
// A solicitation from elsewhere gives no path and has no answer.
func TestAdvertisement(t *testing.T) {
	r := idleRig(t, reduced, peerMoved, 40*time.Second)
	solicitation := with(discovery(teredo.DiscoverySolicitation))
	r.want(r.receive(relay1, solicitation), "drop 1 unknown-peer")
	r.want(r.receive(peerMoved, with(discovery(teredo.DiscoveryAdvertisement))))
	r.want(r.receive(peerMoved, solicitation), "bubble own>other to 192.0.2.10:9999, advertises")
	r.want(r.receive(peerMoved, solicitation)) // not within 2 s
	for range 10 {
		r.wait(2 * time.Second)
		r.want(r.receive(peerMoved, solicitation), "bubble own>other to 192.0.2.10:9999, advertises")
	}
	r, _, _ = extendedRig(t, without(func(e *peer.Extensions) { e.LoadReduction = false }), restrictedNAT)
	r.want(r.receive(peerMapped, solicitation))
}

// X-SLR-03, A-50: the answer carries the nonce of the peer's last indirect bubble. A-33: a solicitation in an indirect bubble is
// answered like any indirect bubble.
func TestAdvertisementCarriesNonce(t *testing.T) {
	r := idleRig(t, reduced, peerMoved, 0)
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce), discovery(teredo.DiscoverySolicitation))), "bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa")
	r.wait(3 * time.Second)
	r.want(r.receive(peerMoved, with(discovery(teredo.DiscoverySolicitation))), "bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa, advertises")
}

// X-SLR-02: a peer that is known on the subnet only, and whose address says nothing that may be sent to, is solicited there
// and nowhere else.
func TestSolicitationOnSubnet(t *testing.T) {
	for name, mend := range map[string]func(*teredo.Address){
		"server": func(a *teredo.Address) { a.Server = netip.MustParseAddr("10.9.9.9") },
		"mapped": func(a *teredo.Address) { a.Mapped = netip.MustParseAddrPort("10.9.9.9:4000") },
	} {
		t.Run("C-TX-08: "+name, func(t *testing.T) {
			a := teredo.Address{Server: peerServer.Addr(), Mapped: netip.MustParseAddrPort("192.0.2.1:5000")}
			mend(&a)
			odd := a.Addr()
			r, c, _ := extendedRig(t, all, restrictedNAT)
			c.SetSubnets([]netip.Prefix{lan})
			c.SetDiscovery(r.now, true)
			r.wait(time.Second)
			r.discovered(c, nearAt, announcement(odd))
			r.wait(time.Second)
			r.want(r.receive(nearAt, bubble(odd, own)))
			r.wait(40 * time.Second)
			at := "bubble own>" + odd.String() + " to 10.0.0.7:4000, solicits"
			r.want(r.send(data(own, odd, 1)), at)
			r.want(r.wait(20*time.Second), "2s "+at, "4s "+at, "6s deliver unreachable server>own, data 1 own>"+odd.String(), "6s drop 1 no-path")
		})
	}
}

// X-SLR-01, K-09: a solicitation waits until 2 s have passed since the last bubble to the peer.
func TestSolicitationSpacing(t *testing.T) {
	r := idleRig(t, reduced, peerMoved, 29500*time.Millisecond)
	r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa")
	r.wait(time.Second)
	r.want(r.send(data(own, other, 2)))
	r.want(r.wait(time.Second), "1s bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa, solicits")
}
