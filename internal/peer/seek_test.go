package peer_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// A client that a router of the relay's link asks for is looked for with one bubble. It is not repeated by itself, but when the router asks
// again after 2 s.
func TestSeek(t *testing.T) {
	router := netip.MustParseAddr("fe80::1")
	for lost := range 5 {
		r, relay := relayRig(t)
		seek := func() bool { return relay.Seek(r.now, other, router, &r.out) }
		live := func() bool { return relay.Table().Live(other, relay.Table().Stamp(r.now)) }
		for range min(lost+1, 4) {
			r.wait(2 * time.Second)
			if !seek() || live() {
				t.Fatal("not looked for")
			}
			r.want(r.report(), knock)
			r.wait(time.Second)
			if !seek() {
				t.Fatal("not looked for any more")
			}
			r.want(r.report())
		}
		if lost == 4 {
			r.wait(2 * time.Second)
			if live() || seek() {
				t.Error("looked for, though the client has left four bubbles unanswered within five minutes")
			}
			continue
		}
		r.want(r.receive(peerMapped, bubble(other, relayLL)))
		if !live() {
			t.Error("not live, though it has answered")
		}
		r.wait(30 * time.Second)
		if live() {
			t.Error("live, though it was not heard of for 30 s")
		}
	}
}

// A router that asks for address after address has no more bubbles sent than the budgets of one source allow, and what cannot be a
// client is not looked for.
func TestSeekIsBounded(t *testing.T) {
	r, relay := relayRig(t)
	router := netip.MustParseAddr("fe80::1")
	if relay.Seek(r.now, teredo.Address{Server: peerServer.Addr(), Mapped: netip.MustParseAddrPort("10.0.0.1:9")}.Addr(), router, &r.out) {
		t.Error("a client with a private address is looked for")
	}
	n := 0
	for i := range 5000 {
		var a, server [4]byte
		binary.BigEndian.PutUint32(a[:], 0x0b000000+uint32(i))
		binary.BigEndian.PutUint32(server[:], 0x0c000000+uint32(i)) // another each time, so that only the source counts
		client := teredo.Address{Server: netip.AddrFrom4(server), Mapped: netip.AddrPortFrom(netip.AddrFrom4(a), 9)}.Addr()
		if relay.Seek(r.now, client, router, &r.out) {
			n++
		}
	}
	if n != 1000 || len(r.out.UDP.Datagrams()) != n {
		t.Errorf("%d looked for, with %d bubbles", n, len(r.out.UDP.Datagrams()))
	}
}
