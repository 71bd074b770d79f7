package tunnel

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// queueRig is a tunnel whose client has an address and looks for one peer.
type queueRig struct {
	*outlet
	server, from      netip.AddrPort
	own, sought, none netip.Addr // none is a peer that nobody knows
}

func newQueueRig() *queueRig {
	r := new(queueRig)
	r.server, r.from = netip.MustParseAddrPort("198.18.0.1:3544"), netip.MustParseAddrPort("198.18.0.9:4000")
	address := func(mapped string) netip.Addr {
		return teredo.Address{Server: r.server.Addr(), Mapped: netip.MustParseAddrPort(mapped)}.Addr()
	}
	r.own, r.sought, r.none = address("198.18.0.7:4000"), address("198.18.0.8:4000"), address("198.18.0.9:4000")
	now, drops := time.Now(), new(drop.Counters)
	c := peer.NewClient(now, peer.Config{
		Capacity: 16, Drops: drops,
		Filter: teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")}},
	})
	r.outlet = newTunnel(nil, 1, newSockets(nil), c, nil, drops).outlets.control
	c.SetAddress(r.own)
	c.Outbound(now, teredo.AppendEchoRequest(nil, r.own, r.sought, 1, 1, nil), &r.out)
	r.out.Reset()
	return r
}

func (r *queueRig) bubble(from netip.Addr) []byte { return teredo.AppendBubble(nil, from, r.own, 255) }

// The answer to the running solicitation, what a peer answers that is looked for, and what the server passes on have queues of their
// own, however many strangers come.
func TestLanes(t *testing.T) {
	const solicitation = 0x0102030405060708
	withNonce := func(nonce uint64) []byte {
		auth := teredo.Auth{Nonce: [8]byte(binary.BigEndian.AppendUint64(nil, nonce))}
		return teredo.AppendRouterAdvertisement(teredo.AppendAuth(nil, auth), netip.MustParseAddr("198.18.0.1"), teredo.ClientLinkLocal(false, netip.AddrPort{}))
	}
	r := newQueueRig()
	for _, tt := range []struct {
		name    string
		from    netip.AddrPort
		payload []byte
		nonce   uint64
		want    lane
		why     drop.Reason // with lanes, for none
	}{
		{"the answer", r.server, withNonce(solicitation), solicitation, answers, drop.None},
		{"a forged answer", r.server, withNonce(solicitation + 1), solicitation, fromServer, drop.None},
		{"an answer that nobody waits for", r.server, withNonce(0), 0, fromServer, drop.None},
		{"from anywhere, of the peer looked for", r.from, r.bubble(r.sought), 0, wanted, drop.None},
		{"by way of the server", r.server, r.bubble(r.none), 0, fromServer, drop.None},
		{"of a stranger", r.from, r.bubble(r.none), 0, strangers, drop.None},
		{"malformed", r.server, []byte{1}, 0, lanes, drop.Malformed},
		{"to somebody else", r.server, teredo.AppendBubble(nil, r.none, r.sought, 255), 0, lanes, drop.Destination},
		{"K-15 larger than any link", r.server, teredo.AppendEchoRequest(nil, r.sought, r.own, 1, 1, make([]byte, mostAsked)), 0, lanes, drop.TooBig},
	} {
		r.nonce.Store(tt.nonce)
		before := r.drops.Get(tt.why)
		r.askInbound(tt.from, 0, tt.payload, 0)
		got := lanes
		for l := range lanes {
			if q := &r.queues[l]; len(q.waiting) > 0 {
				got = l
				q.free <- <-q.waiting
			}
		}
		if got != tt.want || tt.want == lanes && r.drops.Get(tt.why) != before+1 {
			t.Errorf("%s: lane %d, want %d; dropped %v", tt.name, got, tt.want, r.drops.Snapshot())
		}
	}
	stranger := r.bubble(r.none)
	if n := testing.AllocsPerRun(100, func() { r.askInbound(r.from, 0, stranger, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A round takes the share of each lane, the local stack's first, and the strangers', of which there is more, last. Room and rate of
// strangers are bounded.
func TestTurns(t *testing.T) {
	r := newQueueRig()
	stranger := r.bubble(r.none)
	for range 100 {
		r.askInbound(r.from, 0, stranger, 0)
	}
	r.askOutbound(stranger, nil)
	room, share := strangers.limits()
	if n := r.drops.Get(drop.Overload); n != uint64(100-room/2) {
		t.Errorf("%d strangers dropped", n)
	}
	for round, want := range []int{1 + share, share, share, room/2 - 3*share} {
		<-r.wake
		n := 0
		r.takeTurns(func(q *question) {
			if first := round == 0 && n == 0; first != (q.kind == outbound) {
				t.Errorf("round %d, question %d is of kind %d", round, n, q.kind)
			}
			n++
		})
		if n != want {
			t.Errorf("round %d has %d questions, want %d", round, n, want)
		}
	}
	if len(r.wake) != 0 {
		t.Error("there is more")
	}
	taken := 0
	for n := range 10 * unknownRate { // in a second
		r.askInbound(r.from, 0, stranger, peer.Stamp(time.Second+time.Second*time.Duration(n)/(10*unknownRate)))
		r.takeTurns(func(*question) { taken++ })
	}
	if most := unknownBurst + unknownRate; taken > most || taken < most*9/10 {
		t.Errorf("%d questions of strangers in a second, want at most %d", taken, most)
	}
}
