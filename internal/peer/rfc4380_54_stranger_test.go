package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// answer is what a client sends to the relay's last bubble to it.
func (r *rig) answer(from netip.Addr) []byte { return bubble(from, r.asked) }

// R-RX-03, A-11: a relay that has restarted does not know its clients. What they send waits for the answer to a bubble, and is
// not lost.
func TestRelayAfterRestart(t *testing.T) {
	r, _ := relayRig(t)
	r.want(r.receive(peerMapped, data(other, host, 1)), knock)
	r.want(r.receive(peerMapped, data(other, host, 2)))
	r.want(r.receive(peerMapped, r.answer(other)), "deliver data 1 other>host", "deliver data 2 other>host")
	r.want(r.receive(peerMapped, data(other, host, 3)), "deliver data 3 other>host")
	r.want(r.send(data(host, other, 4)), "data 4 host>other to other")
}

// R-GEN-01: nothing but the answer proves a stranger: a forged source gets nothing delivered, and one bubble for a packet.
func TestRelayDistrustsStranger(t *testing.T) {
	r, m := relayRig(t)
	r.want(r.receive(peerMapped, data(other, host, 1)), knock)
	r.want(r.receive(peerMapped, bubble(other, host)), "drop 1 unknown-peer")
	r.want(r.receive(peerMapped, bubble(other, netip.MustParseAddr("fe80::99"))), "drop 1 unknown-peer")
	r.want(r.receive(netip.MustParseAddrPort("192.0.2.11:8192"), r.answer(other)), "drop 1 source")
	r.want(r.wait(time.Minute), "2s drop 1 untested")
	m.SetBehindNAT(true) // the NAT is open for what comes in by it
	for range 3 {
		r.want(r.receive(peerMapped, data(other, host, 2)), knock)
		r.want(r.wait(2*time.Second), "2s drop 1 untested")
	}
	r.want(r.receive(peerMapped, data(other, host, 3)), "drop 1 unknown-peer") // C-BUB-04: four in 300 s
	r.wait(300 * time.Second)
	r.want(r.receive(peerMapped, data(other, host, 3)), knock)
}

// A native host that sends to a stranger has the relay look for it as for any client: four bubbles, and any packet of it will
// do (R-TX-06).
func TestRelaySendsToStranger(t *testing.T) {
	r, _ := relayRig(t)
	r.want(r.receive(peerMapped, data(other, host, 1)), knock)
	r.want(r.send(data(host, other, 2)))
	r.want(r.wait(3*time.Second), "2s "+knock)
	r.want(r.receive(peerMapped, data(other, host, 3)), "data 2 host>other to other", "deliver data 1 other>host", "deliver data 3 other>host")
}

// Strangers are greeted when what they send would be delivered, to addresses that may be global only (R-RX-04, SEC-V4-03).
func TestRelayIgnoresStranger(t *testing.T) {
	odd := teredo.Address{Server: netip.MustParseAddr("10.0.0.1"), Mapped: peerMapped}.Addr()
	r, m := relayRig(t)
	r.want(r.receive(peerMapped, data(odd, host, 1)), "drop 1 not-global")
	r.want(r.receive(peerMapped, data(other, own, 1)), "drop 1 destination")
	r.want(r.receive(peerMapped, bubble(other, host)), "drop 1 unknown-peer")
	m.Serve([]netip.Prefix{netip.PrefixFrom(native(9), 128)}, nil)
	r.want(r.receive(peerMapped, data(other, host, 1)), "drop 1 destination")
	if r.m.Len() != 0 {
		t.Errorf("%d entries", r.m.Len())
	}
}

// SEC-NOAMP-01, SEC-DOS-01: all strangers together cause so many bubbles a second, and no more, and get entries for no others.
// A client that packets have gone both ways with stays. What is answered does not count: a relay's clients are back at once.
func TestStrangersAreLimited(t *testing.T) {
	const atOnce, perSecond = 1000, 1000
	r, cfg := newRig(t)
	cfg.Capacity = 1 << 16
	r.m = peer.NewRelay(r.now, relayAddr, cfg)
	r.m.Establish(other, peerMapped, r.m.Table().Stamp(r.now))
	flood := func(first int) (bubbles int) {
		for n := range 2 * atOnce {
			c := client(first + n)
			r.incoming(teredo.Mapped(c), data(c, host, 1))
			r.incoming(teredo.Mapped(c), data(c, host, 2)) // waits with the first, if that does
		}
		bubbles = len(r.out.UDP.Datagrams())
		r.report()
		return bubbles
	}
	if n := flood(0); n != atOnce {
		t.Errorf("%d bubbles at once, want %d", n, atOnce)
	}
	r.wait(time.Second / 2)
	if n := flood(10000); n != perSecond/2 {
		t.Errorf("%d bubbles after half a second, want %d", n, perSecond/2)
	}
	if !r.m.Knows(other) {
		t.Error("strangers have pushed out a client")
	}
	r.wait(time.Second)
	for n := range 3 * atOnce {
		c := client(50000 + n)
		r.incoming(teredo.Mapped(c), data(c, host, 1))
		r.report()
		r.want(r.receive(teredo.Mapped(c), r.answer(c)), "deliver data 1 "+c.String()+">host")
	}
}
