package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/teredo-suite/teredo/internal/peer"
)

// ST-C-03
func TestPeersDescribed(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own)) // trusted
	r.wait(time.Second)
	r.send(data(own, other, 1))
	r.receive(peerMapped, data(other, own, 1))
	r.wait(time.Second)
	r.send(data(own, host, 1)) // searching
	r.send(data(own, host, 2))
	r.receive(server, bubble(client(1), own)) // answered
	r.wait(time.Second)
	r.receive(client1At(), bubble(client(1), own)) // trusted, but no packet was exchanged
	r.receive(server, bubble(client(2), own))      // no path either
	r.receive(client3At(), data(client(3), own, 1))

	want := []peer.Info{
		{Address: host, State: "searching", Path: "relay", Held: 2, HeardSeconds: -1, SentSeconds: 1, SinceSeconds: 1},
		{Address: client(3), Endpoint: client3At(), State: "trusted", Path: "direct", ReceivedPackets: 1, ReceivedBytes: 48, SentSeconds: -1},
		{Address: other, Endpoint: peerMapped, State: "trusted", Path: "direct", SentPackets: 1, ReceivedPackets: 1, SentBytes: 48, ReceivedBytes: 48, HeardSeconds: 2, SentSeconds: 2, SinceSeconds: 3},
	}
	if diff := cmp.Diff(want, r.m.Peers(r.now, 10), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if got := r.m.Peers(r.now, 2); len(got) != 2 || got[0].Address != host || got[1].Address != client(3) {
		t.Errorf("the first two are %v", got)
	}
	// A worker's clock may be a moment ahead: that is not "never".
	incoming(r.m.Table(), data(other, own, 1), peerMapped, 0, r.m.Table().Stamp(r.now.Add(time.Millisecond)))
	if i := r.m.Peers(r.now, 10)[2]; i.HeardSeconds != 0 {
		t.Errorf("heard %v s ago", i.HeardSeconds)
	}
	if n := r.m.Len(); n != 5 {
		t.Errorf("%d entries", n)
	}
	r.wait(time.Minute)
	for _, i := range r.m.Peers(r.now, 10) {
		if want := map[bool]string{true: "failed", false: "idle"}[i.Address == host]; i.State != want || i.Held != 0 {
			t.Errorf("a minute later: %+v", i)
		}
	}
}

func client1At() netip.AddrPort { return netip.MustParseAddrPort("5.0.0.1:1025") }
func client3At() netip.AddrPort { return netip.MustParseAddrPort("5.0.0.3:1027") }
