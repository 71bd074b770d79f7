package peer

import (
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// solicitations go to an idle path before the search begins anew.
const solicitations = 3

// solicit tries an idle path directly before the search begins anew (RFC 6081 §5.7): three direct bubbles with a Neighbor
// Discovery solicitation, 2 s apart. It reports whether it has done what is due.
func (c *Client) solicit(p *Peer, now Stamp, out *Output) bool {
	if !c.extensions.LoadReduction || !p.trusted() {
		return false
	}
	d, s := p.ensureDetails(), p.search
	if at, ok := s.nextBubble(p.sent.Load(), now); !ok {
		return false
	} else if at > now {
		c.wait(p, at)
		return true
	}
	if s.sent == 0 {
		d.solicited = 0
	}
	d.solicited++
	s.sent++
	s.bubbles.add(now)
	p.sent.Store(now)
	c.sendDiscoveryOption(p, teredo.DiscoverySolicitation, out)
	c.wait(p, now+retryAfter)
	if d.solicited >= solicitations {
		c.searchAnew(p, now, out)
	}
	return true
}

// searchAnew gives up a path that solicitations have found silent (RFC 6081 §5.7.2). Behind a symmetric NAT it takes two pairs of
// bubbles and an answer to find the path anew, for which there would be no room beside three solicitations: so these do not count
// any more, and two pairs are left.
func (c *Client) searchAnew(p *Peer, now Stamp, out *Output) {
	s := p.search
	p.noPath()
	s.bubbles.n = 0
	s.bubbles.add(now)
	s.sent = transmissions - 2
	c.resetPort(p)
	if c.refusePeer(p.key) != drop.None {
		return // known on the subnet only
	}
	c.preparePort(p, now)
	if !c.startEchoTest(p, now, out) {
		c.sendIndirect(p, now, out)
	}
}

// advertise answers a Neighbor Discovery solicitation on the peer's path, within the limits of RFC 4380 §5.2.6 (RFC 6081 §5.7.4.2,
// X-SLR-04).
func (c *Client) advertise(p *Peer, now Stamp, out *Output) {
	if !p.mayBubble(now) || !p.trusted() || !c.mayAnswer(p.key, p, p.endpoint().addr(), now) {
		return
	}
	p.search.bubbles.add(now)
	p.sent.Store(now)
	c.sendDiscoveryOption(p, teredo.DiscoveryAdvertisement, out)
}

func (c *Client) sendDiscoveryOption(p *Peer, kind uint8, out *Output) {
	b := teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit)
	if p.details != nil && p.details.received != (nonce{}) {
		b = teredo.AppendNonceTrailer(b, p.details.received)
	}
	out.send(p.path.Load(), teredo.AppendNeighborDiscoveryTrailer(b, kind))
}
