package tunnel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
)

// neighboursOf starts a client behind each of two NATs, which may be the same, with one server for both.
func neighboursOf(in *natsim.Internet, a, b *natsim.NAT, upnp bool, with peer.Extensions) *pairing {
	s := in.Server()
	p := &pairing{Internet: in, from: clientOf(a, s, upnp, with), to: clientOf(b, s, upnp, with)}
	time.Sleep(10 * time.Second)
	return p
}

// inLAN reports whether all data went to private addresses.
func (p *pairing) inLAN() bool {
	for _, r := range p.Sent(natsim.Kind("data")) {
		if !r.Packet.Dst.Addr().IsPrivate() {
			return false
		}
	}
	return true
}

// Two clients behind one NAT of any kind, without local discovery, find each other by their alternate addresses, whether the
// NAT has hairpinning or not (X-HP-02, X-HP-04). Without the extension they depend on it.
func TestMatrixOneNAT(t *testing.T) {
	for _, kind := range natKinds() {
		for _, hairpin := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, hairpinning %v", kind.name, hairpin), func(t *testing.T) {
				kind.cfg.Hairpin = hairpin
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					nat := in.NAT(kind.cfg)
					p := neighboursOf(in, nat, nat, kind.upnp, allExtensions())
					if o := p.connect(); !o.connected || o.first > timeout+10*hop {
						t.Errorf("connected is %v after %v", o.connected, o.first)
					}
					if !hairpin && !p.inLAN() {
						t.Error("data has left the LAN")
					}
				})
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					nat := in.NAT(kind.cfg)
					with := allExtensions()
					with.Hairpinning = false
					p := neighboursOf(in, nat, nat, kind.upnp, with)
					if o := p.connect(); !hairpin && (o.connected || o.unreachable == 0 || o.unreachable > unreachableWithin) {
						t.Errorf("without the extension connected is %v, and the sender is told after %v", o.connected, o.unreachable)
					}
				})
			})
		}
	}
}

// X-HP-04, the example of RFC 6081 §6.5: behind a carrier's NAT without hairpinning are two more, and a client behind each. They meet at
// the addresses that these NATs have given them on request; without those they cannot.
func TestMatrixNestedNATs(t *testing.T) {
	for _, carrier := range []natKind{natKinds()[0], natKinds()[2], natKinds()[5], natKinds()[7]} {
		for _, upnp := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, UPnP %v", carrier.name, upnp), func(t *testing.T) {
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					outer := in.NAT(carrier.cfg)
					p := neighboursOf(in, outer.NAT(natsim.PortRestricted()), outer.NAT(natsim.PortRestricted()), upnp, allExtensions())
					o := p.connect()
					if upnp && (!o.connected || !p.inLAN() || o.first > timeout+10*hop) {
						t.Errorf("connected is %v after %v, in the LAN %v", o.connected, o.first, p.inLAN())
					}
					if !upnp && (o.connected || o.unreachable == 0 || o.unreachable > unreachableWithin) {
						t.Errorf("connected is %v, and the sender is told after %v", o.connected, o.unreachable)
					}
				})
			})
		}
	}
}

// A client behind the outer NAT only is reached at its local address from behind the inner one, and answers the inner NAT.
func TestMatrixHalfNested(t *testing.T) {
	for _, inward := range []bool{false, true} {
		t.Run(fmt.Sprintf("inward %v", inward), func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				outer := in.NAT(natsim.PortRestricted())
				inner := outer.NAT(natsim.PortRestricted())
				from, to := inner, outer
				if inward {
					from, to = outer, inner
				}
				p := neighboursOf(in, from, to, false, allExtensions())
				if o := p.connect(); !o.connected || !p.inLAN() || o.first > timeout+10*hop {
					t.Errorf("connected is %v after %v, in the LAN %v", o.connected, o.first, p.inLAN())
				}
			})
		})
	}
}
