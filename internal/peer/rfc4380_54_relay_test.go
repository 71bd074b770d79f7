package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

const knock = "bubble relay>other to peer-server"

// R-TX-01, R-TX-02, H-02: what a relay does not carry, and for which it sends no bubble either.
func TestRelayRefuses(t *testing.T) {
	r, _ := relayRig(t)
	for _, c := range []struct {
		src, dst netip.Addr
		want     string
	}{
		{host, native(1), "drop 1 destination"},
		{host, relayLL, "drop 1 scope"},
		{host, teredo.AllNodes(), "drop 1 scope"},
		{own, other, "drop 1 source"},
		{relayLL, other, "drop 1 source"},
		{netip.IPv6Unspecified(), other, "drop 1 source"},
	} {
		r.want(r.send(data(c.src, c.dst, 1)), c.want)
	}
	for _, ip := range []string{"0.0.0.0", "10.0.0.1", "127.0.0.1", "192.168.9.9", "192.88.99.1", "224.0.0.1", "255.255.255.255", "100.64.0.1"} {
		at := netip.MustParseAddr(ip)
		r.want(r.send(data(host, teredo.Address{Server: peerServer.Addr(), Mapped: netip.AddrPortFrom(at, 9)}.Addr(), 1)), "drop 1 not-global")
		r.want(r.send(data(host, teredo.Address{Server: at, Mapped: peerMapped}.Addr(), 1)), "drop 1 not-global")
	}
	r.want(r.send(data(host, teredo.Address{Server: peerServer.Addr(), Mapped: netip.AddrPortFrom(peerMapped.Addr(), 0)}.Addr(), 1)), "drop 1 not-global")
	r.want(r.send(data(host, other, 1)[:44]), "drop 1 not-ipv6")
	if r.m.Len() != 0 {
		t.Errorf("%d entries", r.m.Len())
	}
}

// ST-R-01, R-GEN-01, R-TX-03, R-TX-06, R-TX-08, K-10: the first packets wait, a bubble goes through the client's server, again every 2 s and four
// times in all. R-TX-04, R-TX-05: whatever the cone bit says.
func TestRelayToClient(t *testing.T) {
	cone := teredo.Address{Server: peerServer.Addr(), Flags: teredo.FlagCone, Mapped: peerMapped}.Addr()
	for name, dst := range map[string]netip.Addr{"other": other, cone.String(): cone} {
		for lost := range 5 {
			t.Run(fmt.Sprintf("%s, %d bubbles lost", name, lost), func(t *testing.T) {
				r, _ := relayRig(t)
				knock := "bubble relay>" + name + " to peer-server"
				r.want(r.send(data(host, dst, 1)), knock)
				r.want(r.send(data(host, dst, 2)))
				for range min(lost, 3) {
					r.want(r.wait(2*time.Second), "2s "+knock)
				}
				if lost == 4 {
					r.want(r.wait(time.Minute), "2s deliver unreachable relay>host, data 1 host>"+name,
						"2s deliver unreachable relay>host, data 2 host>"+name, "2s drop 2 no-path")
					return
				}
				r.want(r.receive(peerMapped, bubble(dst, relayLL)), "data 1 host>"+name+" to other", "data 2 host>"+name+" to other")
				r.want(r.send(data(host, dst, 3)), "data 3 host>"+name+" to other")
				r.want(r.wait(19 * time.Second))
			})
		}
	}
}

// R-TX-06: the client's first packet may be data; it opens the path as well as a bubble, and is delivered.
func TestRelayTrustsByData(t *testing.T) {
	r, _ := relayRig(t)
	r.send(data(host, other, 1))
	r.want(r.receive(peerMapped, data(other, host, 2)), "data 1 host>other to other", "deliver data 2 other>host")
	r.want(r.receive(peerMapped, data(other, host, 3)), "deliver data 3 other>host")
}

// R-TX-03, K-07: a valid entry has been heard of less than 30 s ago.
func TestRelayValidity(t *testing.T) {
	r, _ := relayRig(t)
	r.send(data(host, other, 1))
	r.receive(peerMapped, bubble(other, relayLL))
	r.wait(30*time.Second - 1)
	r.want(r.send(data(host, other, 2)), "data 2 host>other to other", knock)
	r.receive(peerMapped, bubble(other, relayLL))
	r.wait(30 * time.Second)
	r.want(r.send(data(host, other, 3)), knock)
}

// R-TX-08: queues are bounded.
func TestRelayQueue(t *testing.T) {
	r, _ := relayRig(t)
	var want []string
	for i := range uint32(peer.MaxHeld) {
		r.send(data(host, other, i))
		want = append(want, fmt.Sprintf("data %d host>other to other", i))
	}
	r.want(r.send(data(host, other, 99)), "drop 1 queue-full")
	r.want(r.receive(peerMapped, bubble(other, relayLL)), want...)
}

// four bubbles in 300 s without a response, searches and refreshes together, also when the entry is old.
func TestRelayBubbleCap(t *testing.T) {
	r, _ := relayRig(t)
	// An entry that exists for 295 s before its first unanswered bubble.
	r.want(r.send(data(host, other, 1)), knock)
	r.receive(peerMapped, bubble(other, relayLL))
	r.wait(295 * time.Second)
	r.want(r.send(data(host, other, 2)), knock)
	r.want(r.wait(280*time.Second), "2s "+knock, "4s "+knock, "6s "+knock,
		"8s deliver unreachable relay>host, data 2 host>other", "8s drop 1 no-path")
	r.want(r.send(data(host, other, 3)), "deliver unreachable relay>host, data 3 host>other", "drop 1 no-path")
	r.wait(20*time.Second - 1)
	r.want(r.send(data(host, other, 3)), "deliver unreachable relay>host, data 3 host>other", "drop 1 no-path")
	r.wait(1)
	r.want(r.send(data(host, other, 4)), knock)
}

// A refresh of a path to a client that is gone leaves bubbles for the search after it.
func TestRelayRefreshInVain(t *testing.T) {
	r, _ := relayRig(t)
	r.send(data(host, other, 1))
	r.wait(time.Millisecond)
	r.receive(peerMapped, bubble(other, relayLL))
	r.wait(20 * time.Second)
	r.want(r.send(data(host, other, 2)), "data 2 host>other to other", knock)
	r.want(r.wait(10*time.Second), "2s "+knock)
	r.want(r.send(data(host, other, 3)), knock)
	r.want(r.wait(time.Minute), "2s "+knock, "4s deliver unreachable relay>host, data 3 host>other", "4s drop 1 no-path")
}

// R-RX-01..04, W-ENC-02, W-ENC-04: what a relay takes from clients.
func TestRelayReceives(t *testing.T) {
	for _, c := range []struct {
		name    string
		from    netip.AddrPort
		payload []byte
		want    []string
	}{
		{"R-RX-01 not IPv6", peerMapped, []byte{0x45, 0}, []string{"drop 1 malformed"}},
		{"R-RX-01 origin", peerMapped, via(relay1, data(other, host, 1)), []string{"drop 1 malformed"}},
		{"R-RX-01 authentication", peerMapped, append(teredo.AppendAuth(nil, teredo.Auth{}), data(other, host, 1)...), []string{"drop 1 malformed"}},
		{"R-RX-01 trailing bytes", peerMapped, append(data(other, host, 1), 1, 4, 1, 2, 3, 4), []string{"data 9 host>other to other", "deliver data 1 other>host"}},
		{"X-TRL-02 discard", peerMapped, append(data(other, host, 1), 0x40, 0), []string{"drop 1 trailers"}},
		{"R-RX-02 another address", netip.MustParseAddrPort("192.0.2.11:8192"), data(other, host, 1), []string{"drop 1 source"}},
		{"R-RX-02 another port", netip.MustParseAddrPort("192.0.2.10:8193"), data(other, host, 1), []string{"drop 1 source"}},
		{"R-RX-02 native source", peerMapped, data(native(1), host, 1), []string{"drop 1 source"}},
		{"R-RX-03 no entry", ownMapped, data(own, host, 1), []string{"bubble relay>own to server"}},
		{"R-RX-03 no entry, bubble", ownMapped, bubble(own, relayLL), []string{"drop 1 unknown-peer"}},
		{"R-RX-03 bubble", peerMapped, bubble(other, relayLL), []string{"data 9 host>other to other"}},
		{"R-RX-03 bubble to anybody", peerMapped, bubble(other, netip.MustParseAddr("fe80::99")), []string{"data 9 host>other to other"}},
		{"R-RX-04 data", peerMapped, data(other, host, 1), []string{"data 9 host>other to other", "deliver data 1 other>host"}},
		{"R-RX-04 to another client", peerMapped, data(other, own, 1), []string{"data 9 host>other to other", "drop 1 destination"}},
		{"R-RX-04 to link-local", peerMapped, data(other, relayLL, 1), []string{"data 9 host>other to other", "drop 1 destination"}},
		{"R-RX-04 to multicast", peerMapped, data(other, teredo.AllNodes(), 1), []string{"data 9 host>other to other", "drop 1 destination"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, _ := relayRig(t)
			r.want(r.send(data(host, other, 9)), knock)
			r.want(r.receive(c.from, c.payload), c.want...)
			r.wait(9 * time.Second) // either way, nothing stays held
			if r.m.Held() != 0 || r.m.Waiting() != 0 {
				t.Errorf("%d bytes held, %d searches", r.m.Held(), r.m.Waiting())
			}
		})
	}
	r, _ := relayRig(t)
	r.send(data(host, other, 9))
	r.receive(peerMapped, bubble(other, relayLL))
	r.want(r.receive(peerMapped, data(other, own, 1)), "drop 1 destination") // also once it is trusted
	r.want(r.receive(ownMapped, data(other, host, 1)), "drop 1 source")
}

// A relay without a global address of its own sends no errors; entries go when they have been of no use for 300 s.
func TestRelayForgets(t *testing.T) {
	r, cfg := newRig(t)
	r.m = peer.NewRelay(r.now, netip.Addr{}, cfg)
	r.want(r.send(data(host, other, 1)), knock)
	r.want(r.wait(10*time.Second), "2s "+knock, "4s "+knock, "6s "+knock, "8s drop 1 no-path")
	r.wait(290 * time.Second)
	if !r.m.Knows(other) {
		t.Error("the entry went before its bubbles ceased to count")
	}
	r.wait(20 * time.Second)
	if _, ok := r.m.Deadline(); ok || r.m.Len() != 0 {
		t.Errorf("%d entries, a deadline: %v", r.m.Len(), ok)
	}
}
