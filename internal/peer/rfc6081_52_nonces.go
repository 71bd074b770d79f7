package peer

import (
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	// nonceLife is how long a nonce counts after it was sent: as long as a whole search of the peer takes, whose bubbles may be
	// what gets through. Whoever has seen it later gains nothing.
	nonceLife = (transmissions + 1) * retryAfter
	// maxWrongNonces is how many wrong nonces make ours void. It bounds the chance of a guess to 1 in 65,536 for each nonce, and
	// is more than what a flood gets in before an honest answer comes.
	maxWrongNonces = 1 << 16
)

// nonce is what a Nonce Trailer holds; zero: none.
type nonce [4]byte

// nonces are the nonces that were exchanged with a peer, and where it was seen with them (RFC 6081 §5.2).
//
// A client behind a symmetric NAT sends direct bubbles with the same nonce from its service port and from a random port, and both
// may reach us. One nonce verifies one path, the first that works, so that repeated bubbles don't move the path to and fro. There
// are two exceptions. The service port is better than a random port: when such a client hears from us at its service port, it
// closes the random one (§5.4.4.5). A neighbour's local endpoint is better than both, as no NAT is between. Data that the peer has
// sent by the other path meanwhile is delivered, too.
type nonces struct {
	sent             nonce // in the last indirect bubble to the peer; zero: none was sent, or it has verified a path, or is void
	sentAt           Stamp
	wrong            int   // bubbles with another nonce from elsewhere since then
	used             nonce // the nonce of ours that has verified the path
	usedByRandomPort bool  // it came from the peer's random port
	verified         path  // path by which a nonce or the answer to a test has come back; zero: none
	also             path  // path by which the peer has sent the same nonce later; zero: none
	received         nonce // in the last indirect bubble from the peer
	before           nonce // in the one before
	replaced         Stamp // when the one took the place of the other
	answered         Stamp // when the last indirect bubble came that was answered
	asked            bool  // an indirect bubble has come from the peer
}

// nonces reports whether bubbles carry nonces, which two of the extensions need.
func (c *Client) nonces() bool { return c.extensions.SymmetricNAT || c.extensions.Hairpinning }

// verifies reports whether the nonce of a bubble shows that the peer is where it has come from (RFC 6081 §5.2.4.4, X-SNS-08,
// X-SNS-11).
func (c *Client) verifies(d *datagram, now Stamp) bool {
	p, n := d.peer, d.trailers.nonce
	if p == nil || p.details == nil || n == (nonce{}) || !p.details.live(now) {
		return false
	}
	switch x := p.details; {
	case n == x.sent:
		return true
	case n == x.used:
		return p.isAt(d.at) || x.usedByRandomPort && d.trailers.randomPort == 0 || c.isLocalAt(p, d.at.endpoint(), now)
	}
	return p.migrating() && n == p.search.tests.migration.nonce && p.isAt(d.at)
}

// live reports whether the nonce that was sent last counts still.
func (x *nonces) live(now Stamp) bool { return now-x.sentAt < nonceLife }

// nonceMayVerify reports whether data that a Teredo peer has sent from elsewhere is held until a bubble with our nonce comes from
// there. Such a bubble is the test of a Teredo peer (RFC 6081 §5.2).
func (c *Client) nonceMayVerify(d *datagram) bool {
	return d.src.isTeredo() && (c.extensions.SymmetricNAT || d.peer.isAlternate(d.at.endpoint())) && c.refusePeer(d.src) == drop.None
}

// noteVerified notes that a bubble has verified the path that it has come by, which may be another one than that in use.
func (d *datagram) noteVerified() {
	x := d.peer.details
	if d.trailers.nonce == x.sent {
		x.sent, x.also = nonce{}, 0
	} else if !d.peer.isAt(d.at) {
		x.also = d.peer.path.Load() &^ pathMarks
	}
	x.used, x.usedByRandomPort = d.trailers.nonce, d.trailers.randomPort != 0
}

// noteUnverified notes that a bubble has come from where the peer is not known to be. With the nonce that has verified the path, it
// has come by another path of the peer; with another nonce, it may be a guess.
func (d *datagram) noteUnverified(now Stamp) {
	if !d.bubble || d.peer == nil || d.peer.details == nil || d.trailers.nonce == (nonce{}) || !d.peer.details.live(now) {
		return
	}
	switch x := d.peer.details; {
	case d.trailers.nonce == x.used:
		x.also = d.at
	case x.wrong < maxWrongNonces:
		x.wrong++
	default:
		x.sent = nonce{}
	}
}

// isVerified reports whether the path in use is the one that a nonce or the answer to a test has verified.
func (p *Peer) isVerified() bool {
	return p.details != nil && p.details.verified != 0 && p.isAt(p.details.verified)
}

// isAlsoAt reports whether the peer was seen with our nonce by the path, though its path is another.
func (p *Peer) isAlsoAt(at path) bool { return p.alsoAt() == at }

// alsoAt is the other path by which the peer was seen with our nonce; zero: none.
func (p *Peer) alsoAt() path {
	if p == nil || p.details == nil {
		return 0
	}
	return p.details.also
}

// isNewNonce reports whether an indirect bubble of the peer has a nonce that it has not had before.
func (c *Client) isNewNonce(p *Peer, n nonce) bool {
	return c.nonces() && n != nonce{} && n != p.ensureDetails().received
}

// asksAgain reports whether a peer that sends another indirect bubble has not got the answer to the last one by the path in use.
func (p *Peer) asksAgain(now Stamp) bool {
	x := p.details
	return p.valid(now) && now-x.answered < nonceLife && p.received.Load() < x.answered
}

// takeNonce takes the nonce of an indirect bubble that is to be answered.
func (x *nonces) takeNonce(n nonce, now Stamp) {
	x.answered = now
	if n == x.received {
		return
	}
	if x.received != (nonce{}) {
		x.before, x.replaced = x.received, now
	}
	x.received = n
}

// sendWithNonces sends a direct bubble with the last nonce of the peer (RFC 6081 §5.2.4.2, X-SNS-03). Anybody can make up an
// indirect bubble with another nonce. So for a while a second bubble goes with the nonce before, except in answer to an indirect one.
func (c *Client) sendWithNonces(p *Peer, to path, now Stamp, out *Output) {
	x := p.details
	x.random.used = x.random.used || to.via() != 0
	c.sendWithNonce(p, to, x.received, out)
	if x.before != (nonce{}) && now > x.answered && now-x.replaced < nonceLife {
		c.sendWithNonce(p, to, x.before, out)
	}
}

// sendWithNonce sends a direct bubble with a nonce and, from a random port, the number of that port.
func (c *Client) sendWithNonce(p *Peer, to path, n nonce, out *Output) {
	b := teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit)
	if n != (nonce{}) {
		b = teredo.AppendNonceTrailer(b, n)
	}
	if to.via() != 0 && p.details.random.mapped != 0 {
		b = teredo.AppendRandomPortTrailer(b, p.details.random.mapped)
	}
	out.send(to, b)
}

// appendTrailers appends the trailers of an indirect bubble: a new nonce, which is never zero (X-SNS-02, X-SNS-11), our other
// addresses (X-HP-02), and the random port if one is open (X-PP-04).
func (c *Client) appendTrailers(b []byte, p *Peer, now Stamp) []byte {
	d := p.ensureDetails()
	d.sent, d.sentAt, d.wrong = nonce{}, now, 0
	for d.sent == (nonce{}) {
		c.random(d.sent[:])
	}
	b = teredo.AppendNonceTrailer(b, d.sent)
	if c.extensions.Hairpinning && c.nat.Local.Addr().Is4() {
		b = c.appendAlternates(b)
	}
	if d.random.mapped != 0 {
		b = teredo.AppendRandomPortTrailer(b, d.random.mapped)
	}
	return b
}
