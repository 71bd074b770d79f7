package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// hairpinned is hairpinning with nothing else.
var hairpinned = peer.Extensions{Hairpinning: true}

// X-HP-02, X-HP-03, W-TRL-04, ST-X-05: while there is no path, indirect bubbles tell our local address, and the gateway's mapping if there is one
// besides, with a nonce.
func TestAlternatesSent(t *testing.T) {
	external := netip.MustParseAddrPort("192.168.1.2:4096")
	for name, c := range map[string]struct {
		nat  peer.NAT
		want string
	}{
		"X-HP-02: local":           {peer.NAT{Local: ownLocal}, ", nonce n1, alternates 10.0.0.1:4096"},
		"X-HP-02: local and UPnP":  {peer.NAT{Local: ownLocal, External: external}, ", nonce n1, alternates 10.0.0.1:4096 192.168.1.2:4096"},
		"X-HP-03: none is known":   {peer.NAT{}, ", nonce n1"},
		"X-HP-03: External, alone": {peer.NAT{External: external}, ", nonce n1"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, hairpinned, c.nat)
			r.want(r.send(data(own, other, 1)), pair[0], pair[1]+c.want)
		})
	}
	r, _, _ := extendedRig(t, hairpinned, restrictedNAT)
	r.want(r.receive(server, indirect(nonce(peerNonce))), pair[0]+", nonce aaaaaaaa", pair[1]+", nonce n1, alternates 10.0.0.1:4096")
}

// X-HP-04, X-HP-05, W-TRL-04, ST-X-05, A-07, A-35: a peer without a path gets a direct bubble at each address that it tells, with its nonce, before the indirect
// one; a peer with a path gets one there only.
func TestAlternatesReceived(t *testing.T) {
	r, _, _ := extendedRig(t, hairpinned, restrictedNAT)
	list := alternates(nearAt, netip.MustParseAddrPort("192.168.1.1:4096"), netip.MustParseAddrPort("172.16.0.1:1"), netip.MustParseAddrPort("100.64.0.1:65535"))
	const n = ", nonce aaaaaaaa"
	r.want(r.receive(server, indirect(nonce(peerNonce), list)), toPeer("bubble", "other")+n,
		toPeer("bubble", "10.0.0.7:4000")+n, toPeer("bubble", "192.168.1.1:4096")+n, toPeer("bubble", "172.16.0.1:1")+n,
		toPeer("bubble", "100.64.0.1:65535")+n, toPeer("bubble", "peer-server")+", nonce n1, alternates 10.0.0.1:4096")
	r.want(r.receive(server, indirect(nonce(peerNonce), list))) // X-HP-09: one burst
	r.want(r.receive(nearAt, with(nonce(r.lastNonce()))))
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2), list)), toPeer("bubble", "10.0.0.7:4000")+", nonce bbbbbbbb")
	r.want(r.send(data(own, other, 1)), "data 1 own>other to 10.0.0.7:4000")
}

// X-HP-04: a client whose own address is global shares no NAT with anybody, and sends nothing to private addresses. Without a
// known address of its own, or behind a NAT, it does.
func TestAlternatesOfGlobalClient(t *testing.T) {
	const n = ", nonce aaaaaaaa"
	public := netip.MustParseAddrPort("198.51.100.50:4000")
	for name, c := range map[string]struct {
		local netip.AddrPort
		want  []string
	}{
		"X-HP-04: global":    {ownMapped, []string{toPeer("bubble", public.String()) + n}},
		"X-HP-04: private":   {ownLocal, []string{toPeer("bubble", nearAt.String()) + n, toPeer("bubble", "192.168.1.1:4096") + n, toPeer("bubble", public.String()) + n}},
		"X-HP-04: not known": {netip.AddrPort{}, []string{toPeer("bubble", nearAt.String()) + n, toPeer("bubble", "192.168.1.1:4096") + n, toPeer("bubble", public.String()) + n}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, _ := extendedRig(t, hairpinned, peer.NAT{Local: c.local})
			got := r.receive(server, indirect(nonce(peerNonce), alternates(nearAt, netip.MustParseAddrPort("192.168.1.1:4096"), public)))
			r.want(got[1:len(got)-1], c.want...) // between the bubble to the mapping and the indirect one
		})
	}
}

// X-HP-06, X-HP-07, W-TRL-07: a list that breaks a rule has the whole bubble dropped, without a trace.
func TestAlternatesMalformed(t *testing.T) {
	entry := func(b ...byte) []byte { return append([]byte{3, byte(2 + len(b)), 0, 0}, b...) }
	good := []byte{10, 0, 0, 7, 15, 160}
	many := append(append(append(append(append([]byte(nil), good...), good...), good...), good...), good...)
	for name, list := range map[string][]byte{
		"empty": entry(), "no reserved bytes": {3, 0}, "odd length": entry(append(good, 1)...), "five": entry(many...),
		"port 0": entry(10, 0, 0, 7, 0, 0), "loopback": entry(127, 0, 0, 1, 15, 160), "multicast": entry(224, 0, 0, 253, 13, 216),
		"broadcast": entry(255, 255, 255, 255, 15, 160), "this network": entry(0, 1, 2, 3, 15, 160), "reserved": entry(240, 0, 0, 1, 15, 160),
		"the second": entry(append(good, 127, 0, 0, 1, 1, 1)...),
	} {
		t.Run("X-HP-06: "+name, func(t *testing.T) {
			r, _, _ := extendedRig(t, all, restrictedNAT)
			r.want(r.receive(server, indirect(nonce(peerNonce), list)), "drop 1 trailers")
			if r.m.Len() != 0 {
				t.Error("it left an entry")
			}
			r, _, _ = extendedRig(t, plain, restrictedNAT) // who does not know the trailer skips it
			if got := r.receive(server, indirect(nonce(peerNonce), list)); len(got) != 2 {
				t.Errorf("%q", got)
			}
		})
	}
}

// X-HP-09: nothing goes to our own addresses, to broadcast addresses nor to servers, and the list of a bubble that did not come through
// our server is not looked at.
func TestAlternatesRefused(t *testing.T) {
	external := netip.MustParseAddrPort("192.168.1.2:4096")
	broadcast := netip.MustParseAddr("10.0.0.255")
	for name, a := range map[string]netip.AddrPort{
		"our local address": ownLocal, "our host": netip.AddrPortFrom(ownLocal.Addr(), 53), "our mapped address": ownMapped,
		"our UPnP mapping": external, "broadcast of the subnet": netip.AddrPortFrom(broadcast, 4000),
		"port of servers": netip.AddrPortFrom(nearAt.Addr(), teredo.Port), "a server": peerServer,
	} {
		t.Run("X-HP-09: "+name, func(t *testing.T) {
			r, c, _ := extendedRig(t, hairpinned, peer.NAT{Local: ownLocal, External: external})
			filter := labs
			filter.Broadcasts = []netip.Addr{broadcast}
			c.SetFilter(filter)
			r.want(r.receive(server, indirect(nonce(peerNonce), alternates(a, nearAt))),
				toPeer("bubble", "other")+", nonce aaaaaaaa", toPeer("bubble", "10.0.0.7:4000")+", nonce aaaaaaaa",
				toPeer("bubble", "peer-server")+", nonce n1, alternates 10.0.0.1:4096 192.168.1.2:4096")
		})
	}
	r, _, _ := extendedRig(t, all, restrictedNAT)
	r.want(r.receive(peerMapped, with(nonce(peerNonce), alternates(nearAt))))
	r.want(r.receive(relay1, with(nonce(peerNonce), alternates(nearAt))), "drop 1 unknown-peer")
}

// X-HP-08: a direct bubble is accepted from the address in its source or with the nonce, whichever address it comes from; a private one
// that has a path keeps it.
func TestHairpinnedPath(t *testing.T) {
	r, _, _ := extendedRig(t, hairpinned, restrictedNAT)
	r.send(data(own, other, 1))
	r.want(r.receive(nearAt, bubble(other, own)), "drop 1 not-global")
	r.want(r.receive(nearAt, with(nonce(peerNonce))), "drop 1 not-global")
	r.want(r.receive(nearAt, with(nonce(r.lastNonce()))), "data 1 own>other to 10.0.0.7:4000")
	r.want(r.receive(nearAt, data(other, own, 2)), "deliver data 2 other>own")
	r.wait(25 * time.Second)
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 10.0.0.7:4000", "test own>other to 10.0.0.7:4000")
	r.want(r.receive(nearAt, r.reply()))
	r.want(r.receive(netip.MustParseAddrPort("10.0.0.8:4000"), data(other, own, 4)), "drop 1 not-global")
}
