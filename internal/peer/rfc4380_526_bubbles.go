package peer

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	// BubbleHopLimit is the hop limit of our bubbles and connectivity tests; the RFC leaves it open.
	BubbleHopLimit = 255

	bubbleWindow = Stamp(300 * time.Second) // no more than maxBubbles in it without an answer (K-09)
	maxBubbles   = 4
)

// bubbleRecord is when the last bubbles without an answer were sent to a peer, the oldest first.
type bubbleRecord struct {
	at [maxBubbles]Stamp
	n  int
}

// add records that a bubble, or a pair of a direct and an indirect one, was sent (RFC 4380 §5.2.6).
func (r *bubbleRecord) add(now Stamp) {
	if r.n == maxBubbles {
		copy(r.at[:], r.at[1:])
		r.n--
	}
	r.at[r.n] = now
	r.n++
}

// unanswered is how many of the bubbles on record were sent since the last direct response; any packet that comes from
// the peer directly is one, and clears the record (RFC 4380 §5.2.6, C-BUB-05).
func (s *search) unanswered() int {
	if r := &s.bubbles; r.n > 0 && s.peer.received.Load() > r.at[r.n-1] {
		r.n = 0
	}
	return s.bubbles.n
}

// exhausted reports whether 4 bubbles in 300 s had no answer, so that no other may be sent for now (RFC 4380 §5.2.6).
func (s *search) exhausted(now Stamp) bool {
	return s != nil && s.unanswered() == maxBubbles && now-s.bubbles.at[0] < bubbleWindow
}

// exhausted reports whether no bubble may go to the peer for now.
func (p *Peer) exhausted(now Stamp) bool { return p != nil && p.search.exhausted(now) }

// nextBubble says when the next bubble may be sent to the peer, or that none may for now (RFC 4380 §5.2.6). last is the
// transmission from which the 2 s between bubbles count.
func (s *search) nextBubble(last, now Stamp) (at Stamp, ok bool) {
	return max(last+retryAfter, now), !s.exhausted(now)
}

// mayBubble reports whether a bubble may be sent to the peer at once (RFC 4380 §5.2.6).
func (p *Peer) mayBubble(now Stamp) bool {
	at, ok := p.ensureSearch().nextBubble(p.sent.Load(), now)
	return ok && at <= now
}

// sendBubbles sends direct bubbles to a Teredo peer and, if asked to, an indirect one through its server (RFC 4380 §5.2.6), with
// those that RFC 6081 adds. Together they count as one. Their order is that of the examples in RFC 6081 §6.
func (c *Client) sendBubbles(p *Peer, indirect bool, alternates []netip.AddrPort, now Stamp, out *Output) {
	p.sent.Store(now)
	p.ensureSearch().bubbles.add(now)
	if indirect {
		c.preparePort(p, now)
	}
	c.sendDirect(p, now, out)
	c.sendToAlternates(p, alternates, now, out)
	if indirect && c.mayAnswer(p.key, p, p.server().addr(), now) && !c.startEchoTest(p, now, out) {
		c.sendIndirect(p, now, out)
	}
	c.sendToRandomPort(p, now, out)
}

// sendDirect sends a direct bubble (RFC 4380 §5.2.6): to the mapping in the peer's address and, with the extensions, from our
// random port, too. A path that is known for sure is taken instead (RFC 6081 §5.2.4.2, §5.3.4.2).
func (c *Client) sendDirect(p *Peer, now Stamp, out *Output) {
	if c.nonces() && p.valid(now) && !p.provisional() {
		c.sendBubble(p, p.path.Load(), now, out)
		return
	}
	c.sendBubble(p, pathTo(p.mapped(), 0), now, out)
	c.sendFromRandomPort(p, now, out)
}

// sendBubble sends a direct bubble by a path, with the trailers of RFC 6081 to a peer that may have use for them.
func (c *Client) sendBubble(p *Peer, to path, now Stamp, out *Output) {
	if p.details == nil {
		out.send(to, teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit))
		return
	}
	c.sendWithNonces(p, to, now, out)
}

// sendIndirect sends an indirect bubble through the peer's server (RFC 4380 §5.2.6), with the trailers of RFC 6081.
func (c *Client) sendIndirect(p *Peer, now Stamp, out *Output) {
	b := teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit)
	if c.nonces() {
		b = c.appendTrailers(b, p, now)
	}
	out.send(pathTo(p.server(), 0), b)
}

// ask sends an indirect bubble, if the limits allow it now.
func (c *Client) ask(p *Peer, now Stamp, out *Output) {
	if p.mayBubble(now) && c.refusePeer(p.key) == drop.None && c.mayAnswer(p.key, p, p.mapped().addr(), now) {
		c.sendBubbles(p, true, nil, now, out)
	}
}
