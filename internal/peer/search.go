package peer

import (
	"container/heap"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
)

const (
	retryAfter     = Stamp(2 * time.Second) // bubble and connectivity test time-out (K-10, K-11)
	transmissions  = 4                      // one and up to three repeats
	maxHeld        = 32                     // packets held for one peer
	maxHeldBytes   = 32768                  // bytes held for one peer
	maxHeldInTotal = 8 << 20
)

// search is the search for a path to a peer, or the test of the one in use: held packets, transmissions, nonce.
type search struct {
	peer     *Peer
	index    int // in list.waiting, -1 when Tick has nothing to come back to
	deadline Stamp
	sent     int // transmissions of this search, since a packet has waited for it
	held     []held
	heldSize int
	bubbles  bubbleRecord
	nonce    [8]byte // of the running connectivity test
	testing  bool
	beside   path      // of the relay that is being tested, see testRelay; zero: none
	doubted  []byte    // the packet at which the path came into doubt: it goes again if another path is found
	stranger bool      // of a relay: nobody has sent to the client, and it has not proved itself
	cause    uint64    // of a relay: the network that the first bubble is on the account of
	tests    pathTests // those of RFC 6081 end with the search

	// For those who ask why there is no path.
	failed   Cause    // why the latest search has found none; empty: it has not ended, or has found one
	refusal  *refusal // the ICMPv6 error that has come of this search; nil: none
	indirect bool     // the peer has sent a bubble through our server
	origin   endpoint // where that came from, as our server says; zero: it does not say so
}

// ensureSearch returns the peer's search, making one when there is none.
func (p *Peer) ensureSearch() *search {
	if p.search == nil {
		p.search = &search{peer: p, index: -1}
	}
	return p.search
}

// isWaiting reports whether Tick will come back to the search.
func (s *search) isWaiting() bool { return s.index >= 0 }

// searching reports whether a path to the peer is being looked for.
func (p *Peer) searching() bool { return p != nil && p.search != nil && p.search.isWaiting() }

// seek holds a packet until there is a path to the peer p, or to a new one with the address k when p is nil. If there is no room
// for the packet, the path is looked for all the same, for the next packets.
func (l *list) seek(p *Peer, k key, packet []byte, now Stamp) (*Peer, drop.Reason) {
	p = l.add(p, k, now)
	p.path.Or(pathSought)
	return p, l.hold(p, held{packet: packet})
}

// held is a packet that waits for a path.
type held struct {
	packet []byte
	from   endpoint // where an inbound packet came from; zero: outbound
}

// hold keeps a copy of a packet until the peer has a path, or says that there was no room. Packets leave in the order they
// came. Those from outside, whose sources may be made up, never take more than half of all the room (SEC-DOS-01).
func (l *list) hold(p *Peer, h held) drop.Reason {
	s := p.ensureSearch()
	room := maxHeldInTotal
	if h.from != 0 {
		room /= 2
	}
	if len(s.held) >= maxHeld || s.heldSize+len(h.packet) > maxHeldBytes || l.heldInTotal+len(h.packet) > room {
		return drop.QueueFull
	}
	if len(s.held) == 0 {
		s.sent = 0 // what an early refresh has sent is not counted against the search that it becomes
		s.refusal = nil
	}
	h.packet = append([]byte(nil), h.packet...)
	s.held = append(s.held, h)
	s.heldSize += len(h.packet)
	l.heldInTotal += len(h.packet)
	return drop.None
}

// release empties the queue of a peer into each, in order, and counts those that each refuses.
func (l *list) release(p *Peer, each func(held) drop.Reason) {
	s := p.search
	for _, h := range s.held {
		l.count(each(h))
	}
	l.heldInTotal -= s.heldSize
	s.held, s.heldSize = nil, 0
}

// firstHeld is the first of the packets that wait to be sent to the peer; nil: none does.
func (p *Peer) firstHeld() []byte {
	if p.search == nil {
		return nil
	}
	for _, h := range p.search.held {
		if h.from == 0 {
			return h.packet
		}
	}
	return nil
}

// trust ends a search (RFC 4380 §5.2.3, §5.4.1). Packets for the peer are sent by the path to, and those from it come by the path
// from; the two differ only for X-UPNP-08. Held packets are sent, and delivered if they came by from, or by also if that is not
// zero.
func (l *list) trust(p *Peer, to, from, also path, now Stamp, out *Output) {
	was := p.path.Load() &^ pathMarks
	p.source.Store(0)
	if to != from {
		p.source.Store(from)
	}
	p.path.Store(to)
	l.table.markLocal(p)
	p.received.Store(now)
	if p.search == nil {
		return
	}
	if again := p.search.doubted; again != nil && to != was {
		l.transmit(p, again, now, out)
	}
	l.release(p, func(h held) drop.Reason {
		switch {
		case h.from == 0:
			l.transmit(p, h.packet, now, out)
		case h.from == from.endpoint(), pathTo(h.from, 0) == also:
			l.accept(p, h.packet, out)
		default:
			return drop.Untested
		}
		return drop.None
	})
	l.end(p)
}

// fail ends a search without a path: the local stack learns by ICMPv6 that the destination is unreachable
// (RFC 4443 §3.1 code 3). The entry stays for a while, so that its bubbles count.
func (l *list) fail(p *Peer, why Cause, now Stamp, out *Output) {
	if !p.valid(now) {
		p.noPath()
		p.search.failed = why
	}
	l.release(p, func(h held) drop.Reason {
		if h.from != 0 {
			return drop.Untested
		}
		l.unreachable(h.packet, now, out)
		return drop.NoPath
	})
	l.stopWaiting(p)
}

// end ends a search that holds nothing. Bubbles without a direct response stay on record.
func (l *list) end(p *Peer) {
	l.stopWaiting(p)
	p.search.failed, p.search.refusal = "", nil
	if p.search.unanswered() == 0 {
		p.search = nil
	}
}

// discard drops what a peer that is to be removed still holds.
func (l *list) discard(p *Peer, why drop.Reason) {
	if p.search == nil {
		return
	}
	l.release(p, func(held) drop.Reason { return why })
	l.stopWaiting(p)
	p.search = nil
}

// due calls try for the searches whose deadline has come, the earliest first. The search must end by that, or wait again.
func (l *list) due(now Stamp, try func(*Peer)) {
	for range tickMost {
		if len(l.waiting) == 0 || l.waiting[0].deadline > now {
			return
		}
		try(l.waiting[0].peer)
	}
}

// needless reports whether nobody needs the search any more, because a packet of the peer has come meanwhile or because the
// flow that a refresh was for has stopped.
func (s *search) needless(now Stamp) bool {
	return len(s.held) == 0 && (s.peer.justHeard(now) || !s.peer.valid(now))
}

// spent reports whether the search has had all its transmissions.
func (s *search) spent() bool { return s.sent >= transmissions }

// wait has Tick come back to the peer at the deadline.
func (l *list) wait(p *Peer, deadline Stamp) {
	s := p.search
	s.deadline = deadline
	if s.isWaiting() {
		heap.Fix(&l.waiting, s.index)
		return
	}
	heap.Push(&l.waiting, s)
}

func (l *list) stopWaiting(p *Peer) {
	p.path.And(^pathSought)
	if s := p.search; s != nil {
		if s.isWaiting() {
			heap.Remove(&l.waiting, s.index)
		}
		s.sent, s.testing, s.tests, s.beside, s.doubted = 0, false, pathTests{}, 0, nil
	}
}

// waiting orders searches by deadline, for container/heap.
type waiting []*search

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].deadline < w[j].deadline }
func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}
func (w *waiting) Push(x any) {
	s := x.(*search)
	s.index = len(*w)
	*w = append(*w, s)
}
func (w *waiting) Pop() any {
	old := *w
	s := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	s.index = -1
	return s
}
