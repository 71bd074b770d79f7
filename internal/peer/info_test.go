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
	r.receive(server, bubble(client(1), own)) // answered, idle
	r.wait(time.Second)
	r.receive(client1At(), bubble(client(1), own))
	r.receive(server, bubble(client(2), own))

	want := []peer.Info{
		{Address: host, State: "searching", Path: "relay", Held: 2, HeardSeconds: -1, SentSeconds: 1},
		{Address: client(2), State: "idle", Path: "direct", HeardSeconds: -1},
		{Address: client(1), Endpoint: client1At(), State: "trusted", Path: "direct", SentSeconds: -1},
		{Address: other, Endpoint: peerMapped, State: "trusted", Path: "direct", SentPackets: 1, ReceivedPackets: 1, SentBytes: 48, ReceivedBytes: 48, HeardSeconds: 2, SentSeconds: 2},
	}
	if diff := cmp.Diff(want, r.m.Peers(r.now, 10), cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	if got := r.m.Peers(r.now, 2); len(got) != 2 || got[0].Address != host || got[1].Address != client(2) {
		t.Errorf("the first two are %v", got)
	}
	// A worker's clock may be a moment ahead: that is not "never".
	incoming(r.m.Table(), data(other, own, 1), peerMapped, 0, r.m.Table().Stamp(r.now.Add(time.Millisecond)))
	if i := r.m.Peers(r.now, 10)[3]; i.HeardSeconds != 0 {
		t.Errorf("heard %v s ago", i.HeardSeconds)
	}
	r.wait(time.Minute)
	for _, i := range r.m.Peers(r.now, 10) {
		if i.State != "idle" || i.Held != 0 {
			t.Errorf("a minute later: %+v", i)
		}
	}
}

func client1At() netip.AddrPort { return netip.MustParseAddrPort("5.0.0.1:1025") }
