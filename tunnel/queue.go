package tunnel

import (
	"encoding/binary"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// mostAsked is the size of the largest packet, and of the largest datagram, that the control goroutine takes. A packet of the link's
// MTU with the longest encapsulations and trailers has 1855 bytes. Larger ones pass on known paths only.
const mostAsked = 2048

// lane is one of the queues to the control goroutine. A flood in one lane leaves room in the others.
type lane uint8

const (
	fromStack  lane = iota // packets of the local stack, and what workers tell about paths
	answers                // to the running router solicitation, by their nonce
	wanted                 // from peers that packets are sent to or a path is looked for
	fromServer             // from others, by way of the server
	strangers              // all the rest
	lanes
)

// limits are how many questions a lane has room for, and how many of them the control goroutine takes in one round.
func (l lane) limits() (room, share int) {
	limits := [lanes]struct{ room, share int }{
		fromStack: {512, 64}, answers: {16, 16}, wanted: {256, 64}, fromServer: {128, 32}, strangers: {128, 16},
	}[l]
	return limits.room, limits.share
}

// unknownRate is how many datagrams a second from unknown peers the control goroutine looks at: so many that the server has passed
// on, and as many others. That takes a few hundredths of a processor. unknownBurst is how many may come at once.
const (
	unknownRate  = 10_000
	unknownBurst = 1000
)

// question is a packet for the control goroutine.
type question struct {
	kind   questionKind
	from   netip.AddrPort // of an inbound one
	via    uint8          // number of the socket that an inbound one came to
	packet []byte         // owned by the question and reused
}

type questionKind uint8

const (
	outbound      questionKind = iota // packet is an IPv6 packet from the TUN device
	turnedBack                        // packet is an IPv6 packet of one client for the native address of another one
	inbound                           // packet is a well-formed UDP payload
	refresh                           // packet is an IPv6 packet that was sent; its destination's path wants a refresh
	offerOutbound                     // packet is the header of an IPv6 packet that was sent; the kernel may carry its flow
	offerInbound                      // packet is the header of one that was delivered
)

// queue holds the questions of one lane.
type queue struct {
	waiting, free chan *question
	unknown       budget.Bucket // of datagrams from unknown peers
}

func (q *queue) init(room int) {
	q.waiting, q.free = make(chan *question, room), make(chan *question, room)
	for range room {
		q.free <- &question{}
	}
}

// put adds a question about a packet that is in two parts, and reports whether there was room.
func (q *queue) put(kind questionKind, from netip.AddrPort, via uint8, head, body []byte) bool {
	select {
	case x := <-q.free:
		x.kind, x.from, x.via, x.packet = kind, from, via, append(append(x.packet[:0], head...), body...)
		q.waiting <- x // never blocks: there are no more questions than room
		return true
	default:
		return false
	}
}

// tell gives the control goroutine a copy of a packet, which may be in two parts, or of its header. When too many wait already, that
// is no loss. Of a packet that is too large it gets the header.
func (t *tunnel) tell(kind questionKind, head, body []byte) {
	if len(head)+len(body) > mostAsked {
		head, body = head[:min(len(head), teredo.HeaderLen)], nil
	}
	if t.queues[fromStack].put(kind, netip.AddrPort{}, 0, head, body) {
		t.wake.put(struct{}{})
	}
}

// askOutbound gives the control goroutine a copy of a packet from the TUN device.
func (t *outlet) askOutbound(head, body []byte) {
	t.ask(fromStack, outbound, netip.AddrPort{}, 0, head, body)
}

// askInbound gives the control goroutine a copy of a datagram, or drops it: one that means nothing to us, and one that comes when
// too many of its lane wait already. Those from unknown peers are the first to go.
func (t *outlet) askInbound(from netip.AddrPort, via uint8, payload []byte, now peer.Stamp) {
	var packet teredo.Packet
	if packet.Parse(payload) != nil {
		t.drops.Count(drop.Malformed)
		return
	}
	if nonce := t.nonce.Load(); packet.HasAuth && nonce != 0 && nonce == binary.BigEndian.Uint64(packet.Auth.Nonce[:]) {
		t.ask(answers, inbound, from, via, payload, nil)
		return
	}
	rank, why := t.table.Rank(&packet, from, via)
	if why != drop.None {
		t.drops.Count(why)
		return
	}
	to := strangers
	switch rank {
	case peer.Wanted:
		to = wanted
	case peer.FromServer:
		to = fromServer
	}
	if rank == peer.Stranger || rank == peer.FromServer {
		q := &t.queues[to]
		if rank == peer.Stranger && len(q.waiting) >= cap(q.waiting)/2 || !q.unknown.Allow(int64(now), budget.Rate{PerSecond: unknownRate, Burst: unknownBurst}, 1) {
			t.drops.Count(drop.Overload)
			return
		}
	}
	t.ask(to, inbound, from, via, payload, nil)
}

// ask gives a copy of a packet, which is in two parts, to the control goroutine.
func (t *outlet) ask(l lane, kind questionKind, from netip.AddrPort, via uint8, head, body []byte) {
	switch {
	case len(head)+len(body) > mostAsked:
		t.drops.Count(drop.TooBig)
	case !t.queues[l].put(kind, from, via, head, body):
		t.drops.Count(drop.Overload)
		if l == fromStack {
			t.unasked.Add(1)
		}
	default:
		t.wake.put(struct{}{})
	}
}

// takeTurns calls each with the questions that wait: the share of each lane, in their order. What is left waits for the next round.
func (t *tunnel) takeTurns(each func(*question)) {
	left := false
	for l := range lanes {
		q := &t.queues[l]
		_, share := l.limits()
		for range min(share, len(q.waiting)) {
			x := <-q.waiting
			each(x)
			q.free <- x
		}
		left = left || len(q.waiting) > 0
	}
	if left {
		t.wake.put(struct{}{})
	}
}
