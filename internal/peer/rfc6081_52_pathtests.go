package peer

import (
	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Nothing that somebody else can send moves a valid path. Source addresses are easily made up, so a packet from the mapping in the
// peer's address replaces only a path on the subnet that is not verified, and a discovery bubble replaces no valid path. A nonce
// shows that its sender has received our indirect bubble: that is the peer, or somebody who has read the bubble on its way. So the
// path in use is tested first. Only if there is no answer, the peer has really moved, and the nonce moves the path.

// migration is the test of a valid path when a nonce has come back by another one (RFC 6081 §5.2.4.4).
type migration struct {
	to    path  // the other path; zero: there is no migration
	nonce nonce // which no other path can use
	since Stamp
}

// migrating reports whether the path is being tested because a nonce has come back by another one.
func (p *Peer) migrating() bool { return p.search != nil && p.search.tests.migration.to != 0 }

// mayMove reports whether a packet that has come by a path may make it the path of the peer. Verified says that it has a nonce of
// ours.
func (p *Peer) mayMove(at path, verified bool, now Stamp) bool {
	return !p.valid(now) || p.isAt(at) || p.provisional() && (verified || p.mapped() == at.endpoint())
}

// startMigration has the path of a peer tested whose nonce has come back by another one: by an Echo Request and, as a host's
// firewall may drop that, by a solicitation where the limits of bubbles allow one.
func (c *Client) startMigration(d *datagram, now Stamp, out *Output) {
	p := d.peer
	p.details.sent = nonce{}
	p.ensureSearch().tests.migration = migration{d.at, d.trailers.nonce, now}
	if p.mayBubble(now) && c.extensions.LoadReduction {
		p.search.bubbles.add(now)
		c.sendDiscoveryOption(p, teredo.DiscoverySolicitation, out)
	}
	p.search.sent = 0
	c.test(p, p.path.Load(), now, out)
}

// finishMigration moves the path when no answer has come by the one in use. If that was verified, any packet that has come by it
// counts as an answer.
func (c *Client) finishMigration(p *Peer, now Stamp, out *Output) {
	m := p.search.tests.migration
	p.search.tests.migration = migration{}
	if p.isVerified() && p.received.Load() > m.since || m.to.via() != 0 && !c.ownsPort(p, m.to.via()) {
		c.wait(p, now) // the search goes on, if somebody needs it
		return
	}
	p.details.used, p.details.usedByRandomPort, p.details.also = m.nonce, false, 0
	c.learn(p, m.to, true, now, out)
}

// verifyLocal asks a peer through its server whether it is at the local endpoint where somebody has answered in its name. The nonce
// comes back from there, or from where the peer really is. Of the limits of bubbles only the 2 s are not kept: nothing but a bubble
// on the subnet has gone before.
func (c *Client) verifyLocal(p *Peer, now Stamp, out *Output) {
	asked := p.details.sent != nonce{} && p.details.live(now)
	if c.nonces() && !asked && !p.exhausted(now) && c.refusePeer(p.key) == drop.None {
		c.sendBubbles(p, true, nil, now, out)
	}
}

// oneWayTest is a packet that was sent on a path that may lead one way only.
type oneWayTest struct {
	packet []byte // nil: there is no test
	heard  uint64 // packets of data that had come from the peer by then
}

// testOneWay has a path tested that a bubble has told and a packet was sent on, unless the peer answers that packet (RFC 6081
// §5.2). Our symmetric NAT sends packets for the peer by a mapping of their own. Bubbles may come in by another mapping, which the
// gateway was asked for or which lets everybody in. Then they do not show that the peer's NAT lets our packets in, and the sender
// must learn when it does not. Bubbles are no answer, as those that go through a server cause them, too. Data, or the answer to a
// connectivity test, shows that the path leads both ways.
func (c *Client) testOneWay(p *Peer, sent []byte, now Stamp) {
	if sent == nil || !c.nat.Symmetric || !p.valid(now) || p.path.Load().via() != 0 {
		return
	}
	s := p.ensureSearch()
	s.tests.oneWay, s.sent = oneWayTest{sent, p.receivedPackets.Load()}, 1
	c.wait(p, now+retryAfter)
}

// oneWayAnswered reports whether the peer has sent data since the packet that the running test is about.
func (p *Peer) oneWayAnswered() bool { return p.receivedPackets.Load() != p.search.tests.oneWay.heard }
