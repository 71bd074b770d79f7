package peer_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// X-UPNP-07, A-08: a bubble from another endpoint than its address says tells that the peer's NAT is symmetric, and nothing else:
// without the nonce it is dropped. X-UPNP-08, A-47: then bubbles and data go to the mapping in the address, although the
// peer's packets come from elsewhere.
func TestAsymmetricPath(t *testing.T) {
	r, _, _ := extendedRig(t, plain, upnpNAT)
	r.want(r.receive(peerMoved, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 1)), nonced...)
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "data 1 own>other to other")
	r.want(r.receive(peerMoved, data(other, own, 2)), "deliver data 2 other>own")
	if v := incoming(r.m.Table(), data(other, own, 3), peerMoved, 0, 0); v != peer.Carry {
		t.Errorf("a worker's action is %v", v)
	}
	r.want(r.send(data(own, other, 4)), "data 4 own>other to other")
	r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to other, nonce aaaaaaaa")
	r.wait(40 * time.Second)
	r.want(r.send(data(own, other, 5)), "bubble own>other to other, nonce aaaaaaaa, solicits")
	r.want(r.receive(peerMoved, bubble(other, own)), "data 5 own>other to other")
}

// X-UPNP-08, ST-X-02, A-36: all of its conditions are needed. A path on our side of the NAT is not asymmetric.
func TestAsymmetricPathConditions(t *testing.T) {
	learned := "data 1 own>other to 192.0.2.10:9999"
	for name, c := range map[string]struct {
		e    peer.Extensions
		nat  peer.NAT
		want string
	}{
		"X-UPNP-08":                     {plain, upnpNAT, "data 1 own>other to other"},
		"extension off":                 {without(func(e *peer.Extensions) { e.UPnP = false }), upnpNAT, learned},
		"X-UPNP-05: not symmetric":      {plain, peer.NAT{Local: ownLocal, PortMapping: true}, learned},
		"no mapping from the gateway":   {plain, peer.NAT{Local: ownLocal, Symmetric: true}, learned},
		"X-UPNP-06: more than one NAT":  {plain, peer.NAT{Local: ownLocal, Symmetric: true, PortMapping: true, External: relay1}, learned},
		"X-UPNP-08: a port-mapping NAT": {plain, peer.NAT{Local: ownLocal, Symmetric: true, PortMapping: true, PortPreserving: true}, "data 1 own>other to other"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, c.e, c.nat)
			r.send(data(own, other, 1))
			r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), c.want)
		})
	}
	t.Run("the peer's address is right", func(t *testing.T) {
		r, _, _ := extendedRig(t, plain, upnpNAT)
		r.send(data(own, other, 1))
		r.want(r.receive(peerMapped, with(nonce(r.lastNonce()))), "data 1 own>other to other")
		if v := incoming(r.m.Table(), data(other, own, 3), peerMoved, 0, 0); v != peer.Ask {
			t.Errorf("a worker's action is %v", v)
		}
	})
	t.Run("behind the same NAT", func(t *testing.T) {
		r, _, _ := extendedRig(t, all, upnpNAT)
		r.send(data(own, other, 1))
		r.want(r.receive(nearAt, with(nonce(r.lastNonce()))), "data 1 own>other to 10.0.0.7:4000")
		r.want(r.receive(nearAt, data(other, own, 2)), "deliver data 2 other>own")
	})
}

// X-UPNP-07: a bubble that was made up leaves an entry at most, whose data still goes where the address says; none when
// nothing may be sent there.
func TestAsymmetricSpoofed(t *testing.T) {
	r, _, _ := extendedRig(t, plain, upnpNAT)
	odd := teredo.Address{Server: nearAt.Addr(), Mapped: peerMapped}.Addr()
	r.want(r.receive(peerMoved, bubble(odd, own)), "drop 1 unknown-peer")
	if r.m.Len() != 0 {
		t.Error("it left an entry")
	}
	r.receive(peerMapped, bubble(other, own))
	r.want(r.receive(peerMoved, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other")
}
