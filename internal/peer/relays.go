package peer

import (
	"slices"

	"github.com/teredo-suite/teredo/internal/drop"
)

// A native host may be behind several relays: the routers on its way spread packets over them, or the route has changed. Packets to
// the host leave by its path, which leads to the relay that the latest connectivity test has been answered by (RFC 4380 §5.2.9).
// "The hosts should be generous in what they accept and careful in what they send": packets are also accepted from
//
//   - the relays that the path led to before, as long as it stays valid,
//   - a relay that has carried a test to the host, whose answer has come by the path.
//
// The second kind is needed because a router may send the answers to tests by one relay, and TCP by another one. Such a relay gets no
// packets. It can send with a foreign source, the client's, and so it could send in the name of the host by the path, too.

// relays are those besides the path; zero: none.
type relays [3]path

// hasRelay reports whether packets of a native host are accepted from another relay than that of its path.
func (p *Peer) hasRelay(at path, now Stamp) bool {
	return p.valid(now) && !p.isTeredo() && p.path.Load()&^pathMarks != at && p.details != nil && slices.Contains(p.details.relays[:], at)
}

// addRelay has packets accepted from a relay. Workers take them from the latest one. The server's endpoint is known to everybody, so
// what comes from there counts on a path only.
func (c *Client) addRelay(p *Peer, at path) {
	if at.endpoint() == c.server {
		return
	}
	if d := p.ensureDetails(); !slices.Contains(d.relays[:], at) {
		copy(d.relays[1:], d.relays[:])
		d.relays[0] = at
	}
	p.source.Store(at)
}

// acceptBeside hands a packet to the local stack that has come by another relay. It does not show that the path works.
func (c *Client) acceptBeside(p *Peer, at path, packet []byte, out *Output) {
	p.source.Store(at)
	p.carried(Traffic{1, uint64(len(packet))})
	out.deliver(packet)
}

// learnRelay makes the relay by which a connectivity test has been answered that of the path. The one before may still have packets
// of the host. If others have come from elsewhere, that relay is tested now.
func (c *Client) learnRelay(p *Peer, at path, now Stamp, out *Output) {
	was, valid := p.path.Load()&^pathMarks, p.valid(now)
	if !valid && p.details != nil {
		p.details.relays = relays{}
	}
	rest := c.takeOut(p, at.endpoint())
	c.learn(p, at, true, now, out)
	if valid && was != at {
		c.addRelay(p, was)
	}
	if len(rest) > 0 {
		c.testRelay(p, rest, now, out)
	}
}

// takeOut takes the packets out of the queue of a peer that have come from elsewhere than an endpoint.
func (l *list) takeOut(p *Peer, from endpoint) (rest []held) {
	s := p.search
	s.held = slices.DeleteFunc(s.held, func(h held) bool {
		if h.from == 0 || h.from == from {
			return false
		}
		rest = append(rest, h)
		s.heldSize -= len(h.packet)
		l.heldInTotal -= len(h.packet)
		return true
	})
	return rest
}

// testRelay sends a connectivity test by the relay that packets have come from.
func (c *Client) testRelay(p *Peer, packets []held, now Stamp, out *Output) {
	p.ensureSearch()
	for _, h := range packets {
		c.count(c.hold(p, h))
	}
	p.search.beside = pathTo(packets[0].from, 0)
	c.test(p, p.search.beside, now, out)
}

// admitRelay accepts packets from the relay that was tested.
func (c *Client) admitRelay(p *Peer, now Stamp, out *Output) {
	beside := p.search.beside
	p.received.Store(now)
	c.addRelay(p, beside)
	c.release(p, func(h held) drop.Reason {
		switch h.from {
		case 0:
			c.transmit(p, h.packet, now, out)
		case beside.endpoint():
			c.acceptBeside(p, beside, h.packet, out)
		default:
			return drop.Untested
		}
		return drop.None
	})
	c.end(p)
}
