package peer

import (
	"container/heap"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
)

const (
	retryAfter     = Stamp(2 * time.Second)   // bubble and connectivity test time-out (K-10, K-11)
	transmissions  = 4                        // one and up to three repeats
	bubbleWindow   = Stamp(300 * time.Second) // no more than maxBubbles in it without an answer (K-09)
	maxBubbles     = 4
	maxHeld        = 32    // packets held for one peer
	maxHeldBytes   = 32768 // bytes held for one peer
	maxHeldInTotal = 8 << 20
)

// setup is the search for a path: held packets, transmissions, nonce.
type setup struct {
	peer     *Peer
	index    int // in list.waiting, -1 when not waiting
	deadline Stamp
	sent     int // transmissions of this search, since a packet has waited for it
	held     []held
	heldSize int
	bubbles  [maxBubbles]Stamp // when the last bubbles were sent, the oldest first
	nbubbles int               // how many of them are on record; unanswered clears it after a direct response
	nonce    [8]byte           // of the running connectivity test
	testing  bool
	stranger bool   // of a relay: nobody has sent to the client, and it has not proved itself
	cause    uint64 // of a relay: the network that the first bubble is on the account of
	unproven []byte // a packet that was sent on a path that may lead one way only, see Client.doubt; nil: none
	heard    uint64 // packets that had come from the peer by then
	contest
}

// search returns the peer's setup, making one when there is none.
func (p *Peer) search() *setup {
	if p.setup == nil {
		p.setup = &setup{peer: p, index: -1}
	}
	return p.setup
}

// waiting reports whether Tick will come back to the search.
func (s *setup) waiting() bool { return s.index >= 0 }

// searching reports whether a path to the peer is being looked for.
func (p *Peer) searching() bool { return p != nil && p.setup != nil && p.setup.waiting() }

// isStranger reports whether a relay knows of the client only by what somebody has sent in its name.
func (p *Peer) isStranger() bool { return p.setup != nil && p.setup.stranger }

// held is a packet that waits for a path.
type held struct {
	packet []byte
	from   netip.AddrPort // where an inbound packet came from; zero: outbound
}

// hold keeps a copy of a packet until the peer has a path, and reports whether there was room. Packets leave in the
// order they came. Those from outside, whose sources may be made up, never take more than half of all the room
// (SEC-DOS-01).
func (l *list) hold(p *Peer, h held) bool {
	s := p.search()
	room := maxHeldInTotal
	if h.from.IsValid() {
		room /= 2
	}
	if len(s.held) >= maxHeld || s.heldSize+len(h.packet) > maxHeldBytes || l.heldInTotal+len(h.packet) > room {
		l.cfg.Drops.Count(drop.QueueFull)
		return false
	}
	if len(s.held) == 0 {
		s.sent = 0 // what an early refresh has sent is not counted against the search that it becomes
	}
	h.packet = append([]byte(nil), h.packet...)
	s.held = append(s.held, h)
	s.heldSize += len(h.packet)
	l.heldInTotal += len(h.packet)
	return true
}

// release empties the queue of a peer into each, in order.
func (l *list) release(p *Peer, each func(held)) {
	s := p.setup
	for _, h := range s.held {
		each(h)
	}
	l.heldInTotal -= s.heldSize
	s.held, s.heldSize = nil, 0
}

// trust makes from, seen at the local port via, the path of the peer, sends and delivers what was held for it, and ends the
// search (RFC 4380 §5.2.3). Packets for the peer go to the endpoint to, which is another than from only for X-UPNP-08.
func (l *list) trust(p *Peer, to, from netip.AddrPort, via uint8, now Stamp, out *Output) {
	var source uint64
	if to != from {
		source = pathWord(from, via)
	}
	p.source.Store(source)
	p.path.Store(pathWord(to, via))
	p.received.Store(int64(now))
	if p.setup == nil {
		return
	}
	l.release(p, func(h held) {
		switch {
		case !h.from.IsValid():
			l.transmit(p, h.packet, now, out)
		case h.from == from, p.isSecond(h.from, 0):
			l.accept(p, h.packet, out)
		default:
			l.cfg.Drops.Count(drop.Untested)
		}
	})
	l.end(p)
}

// fail ends a search without a path: the local stack learns by ICMPv6 that the destination is unreachable
// (RFC 4443 §3.1 code 3). The entry stays for a while, so that its bubbles count.
func (l *list) fail(p *Peer, now Stamp, out *Output) {
	if s := p.setup; s.unproven != nil {
		p.noPath()
		l.cfg.Drops.Count(drop.NoPath)
		l.unreachable(s.unproven, now, out)
	}
	if !p.valid(now) {
		p.noPath()
	}
	l.release(p, func(h held) {
		if h.from.IsValid() {
			l.cfg.Drops.Count(drop.Untested)
			return
		}
		l.cfg.Drops.Count(drop.NoPath)
		l.unreachable(h.packet, now, out)
	})
	l.stopWaiting(p)
}

// due goes on with the searches whose deadline has come, the earliest first. It ends those that nobody needs any more,
// because a packet of the peer has come meanwhile or because the flow that a refresh was for has stopped, and those that
// have had all their transmissions; for the others, and for a running echo test, it calls try.
func (l *list) due(now Stamp, out *Output, try func(*Peer)) {
	for range tickMost {
		if len(l.waiting) == 0 || l.waiting[0].deadline > now {
			return
		}
		s := l.waiting[0]
		switch p := s.peer; {
		case p.echoing(), s.rival != 0:
			try(p)
		case s.unproven != nil && p.receivedPackets.Load() != s.heard,
			s.unproven == nil && len(s.held) == 0 && (p.justHeard(now) || !p.valid(now)):
			l.end(p)
		case s.sent >= transmissions:
			l.fail(p, now, out)
		default:
			try(p)
		}
	}
}

// discard drops what a peer that is to be removed still holds.
func (l *list) discard(p *Peer, why drop.Reason) {
	if p.setup == nil {
		return
	}
	l.release(p, func(held) { l.cfg.Drops.Count(why) })
	l.stopWaiting(p)
	p.setup = nil
}

// wait has Tick come back to the peer at the deadline.
func (l *list) wait(p *Peer, deadline Stamp) {
	s := p.setup
	s.deadline = deadline
	if s.waiting() {
		heap.Fix(&l.waiting, s.index)
		return
	}
	heap.Push(&l.waiting, s)
}

// end ends a search that holds nothing. Bubbles without a direct response stay on record.
func (l *list) end(p *Peer) {
	l.stopWaiting(p)
	if p.setup.unanswered() == 0 {
		p.setup = nil
	}
}

func (l *list) stopWaiting(p *Peer) {
	p.path.And(^uint64(pathSought))
	if s := p.setup; s != nil {
		if s.waiting() {
			heap.Remove(&l.waiting, s.index)
		}
		s.sent, s.testing, s.unproven, s.contest = 0, false, nil, contest{}
	}
}

// mayBubble says whether a bubble may be sent to the peer now (RFC 4380 §5.2.6). last is the transmission from which the
// 2 s between bubbles count. If not now, it says when, or that the limit of unanswered bubbles is reached.
func (s *setup) mayBubble(last, now Stamp) (at Stamp, ok bool) {
	if s.exhausted(now) {
		return 0, false
	}
	return max(last+retryAfter, now), true
}

// exhausted reports whether the limit of unanswered bubbles is reached.
func (s *setup) exhausted(now Stamp) bool {
	return s.unanswered() == maxBubbles && now-s.bubbles[0] < bubbleWindow
}

// exhausted reports whether no bubble may go to the peer for now.
func (p *Peer) exhausted(now Stamp) bool { return p != nil && p.setup != nil && p.setup.exhausted(now) }

// unanswered is how many of the bubbles on record were sent since the last direct response; any packet that comes from
// the peer directly is one, and clears the record (C-BUB-05).
func (s *setup) unanswered() int {
	if s.nbubbles > 0 && Stamp(s.peer.received.Load()) > s.bubbles[s.nbubbles-1] {
		s.nbubbles = 0
	}
	return s.nbubbles
}

// countBubble records that a bubble, or a pair of a direct and an indirect one, was sent.
func (s *setup) countBubble(now Stamp) {
	if s.nbubbles == maxBubbles {
		copy(s.bubbles[:], s.bubbles[1:])
		s.nbubbles--
	}
	s.bubbles[s.nbubbles] = now
	s.nbubbles++
}
