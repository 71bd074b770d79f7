package peer

import (
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Outbound handles an IPv6 packet of the local stack that Table.Outgoing had no path for (RFC 4380 §5.2.4).
func (c *Client) Outbound(t time.Time, packet []byte, out *Output) {
	c.count(c.outbound(packet, c.table.Stamp(t), out))
}

func (c *Client) outbound(packet []byte, now Stamp, out *Output) drop.Reason {
	if why := c.refusePacket(packet); why != drop.None {
		return why
	}
	dst := destinationOf(packet)
	p := c.table.lookup(dst)
	if why := c.refuse(sourceOf(packet), dst, p, now); why != drop.None {
		return why
	}
	if p.valid(now) { // case 1
		c.transmit(p, packet, now, out)
		return drop.None
	}
	p, why := c.seek(p, dst, packet, now)
	p.want(now)
	if !p.search.isWaiting() {
		c.try(p, now, out)
	}
	return why
}

// refuse is the reason why a packet of the local stack is not sent to its destination (RFC 4380 §5.2.4).
func (c *Client) refuse(src, dst key, p *Peer, now Stamp) drop.Reason {
	switch {
	case !c.own.IsValid():
		return drop.NotQualified
	case src != c.ownKey:
		return drop.Source
	case !dst.isTeredo() || c.isLocal(p, now):
		return drop.None
	}
	return c.refusePeer(dst)
}

// refusePeer is the reason why nothing is sent to a Teredo address without a path (RFC 4380 §5.2.4). An address with our own mapping
// leads back to us (SEC-LOOP).
func (c *Client) refusePeer(dst key) drop.Reason {
	if dst.mapped() == c.mapped {
		return drop.Loop
	}
	return c.refuseTeredo(dst)
}

// doubt looks for another relay of a native host that leaves transmissions unanswered. They go on by the path meanwhile. A copy of
// the latest waits for another path: TCP repeats a packet ever more rarely.
func (c *Client) doubt(p *Peer, packet []byte, now Stamp, out *Output) {
	p.want(now)
	s := p.ensureSearch()
	if teredo.PacketLen(packet) == len(packet) {
		s.doubted = slices.Clone(packet)
	}
	if !s.isWaiting() {
		c.try(p, now, out)
	}
}

// Refresh tries the path to a peer anew while it is still in use. Table.Outgoing asks for it at a packet that has been sent.
func (c *Client) Refresh(t time.Time, packet []byte, out *Output) {
	now := c.table.Stamp(t)
	p := c.table.lookup(destinationOf(packet))
	switch {
	case !c.own.IsValid() || !p.valid(now):
	case p.inDoubt(now):
		c.doubt(p, packet, now, out)
	case p.isRefreshable(now):
		p.want(now)
		c.try(p, now, out)
	}
}

// retry goes on with a search whose deadline has come, or ends it.
func (c *Client) retry(p *Peer, now Stamp, out *Output) {
	s := p.search
	needless := s.needless(now)
	if s.tests.oneWay.packet != nil {
		needless = p.oneWayAnswered()
	}
	switch {
	case p.echoing(), p.migrating(): // go on whatever the search says
		c.try(p, now, out)
	case s.beside != 0:
		c.fail(p, now, out)
	case needless:
		c.end(p)
	case s.spent():
		c.fail(p, now, out)
	default:
		c.try(p, now, out)
	}
}

// fail ends a search without a path. The packet of an unanswered one-way test counts as dropped.
func (c *Client) fail(p *Peer, now Stamp, out *Output) {
	why := c.cause(p)
	if sent := p.search.tests.oneWay.packet; sent != nil {
		p.noPath()
		c.count(drop.NoPath)
		c.unreachable(sent, now, out)
	}
	c.list.fail(p, why, now, out)
}

// try makes one attempt at a path (RFC 4380 §5.2.4): a connectivity test for native addresses (case 2) and for Teredo peers
// whose path is still valid, bubbles for the other Teredo peers (cases 3 and 5). There is no case 4: the cone bit is ignored
// (RFC 5991 §3.2).
func (c *Client) try(p *Peer, now Stamp, out *Output) {
	switch {
	case !c.own.IsValid():
		c.fail(p, now, out)
	case p.migrating():
		c.finishMigration(p, now, out)
	case !p.isTeredo():
		c.test(p, pathTo(c.server, 0), now, out)
	case p.valid(now):
		c.test(p, p.path.Load(), now, out)
	case c.echoPending(p, now, out), c.solicit(p, now, out): // RFC 6081 §5.5, §5.7
	default:
		c.tryBubbles(p, now, out)
	}
}

// tryBubbles sends bubbles to a Teredo peer as soon as the limits of RFC 4380 §5.2.6 allow it (§5.2.4 cases 3 and 5). A peer
// that has made itself known from a global address may still have a server that has none: no bubble is sent there (C-TX-08).
func (c *Client) tryBubbles(p *Peer, now Stamp, out *Output) {
	s := p.search
	local := c.isLocal(p, now) && s.sent < localTries
	at, ok := s.nextBubble(p.sent.Load(), now)
	switch {
	case !ok || !local && c.refusePeer(p.key) != drop.None:
		c.fail(p, now, out)
	case at > now:
		c.wait(p, at)
	case local: // case 3
		s.sent++
		s.bubbles.add(now)
		c.knockLocally(p, now, out)
		c.wait(p, now+retryAfter)
	case !c.mayAnswer(p.key, p, p.mapped().addr(), now):
		c.fail(p, now, out)
	default: // case 5
		if s.sent >= transmissions/2 && c.sequential() {
			c.resetPort(p) // the prediction was wrong
		}
		s.sent++
		c.wait(p, now+retryAfter)
		c.sendBubbles(p, true, nil, now, out)
	}
}
