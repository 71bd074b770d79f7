package peer

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// A path that is valid is not moved by what somebody else can send. A source address is easily made up, so a packet from the
// mapping in the peer's address takes over from nothing but a path on the subnet that is not proven, and discovery from nothing at
// all. A nonce shows that who sends it has received our indirect bubble, as the peer has, and all who could read it on its way. So
// the path in use is tested first, and the nonce moves it when there is no answer: the peer has really moved then.

// contest is the test of a valid path when a nonce has come back by another one.
type contest struct {
	rival      uint64  // the other path; zero: there is no contest
	rivalNonce [4]byte // which no other path can use
	since      Stamp
}

// hasProven reports whether the peer has proven to be where its path leads.
func (p *Peer) hasProven() bool {
	return p.ext != nil && p.ext.proven != 0 && p.isAt(wordEndpoint(p.ext.proven), uint8(p.ext.proven>>pathVia))
}

// provisional reports whether the path leads to the local endpoint of the peer, and nothing but its own word says that it is
// there. Such a path serves as long as there is no other.
func (p *Peer) provisional() bool {
	return p.ext != nil && p.ext.local != 0 && p.path.Load()&^pathMarks == p.ext.local|pathTrusted && !p.hasProven()
}

// askForProof asks a peer through its server whether it is at the local endpoint where somebody has answered in its name. The nonce
// comes back from there, or from where the peer really is. Of the limits of bubbles only the 2 s are not kept: nothing but a greeting
// has gone before.
func (c *Client) askForProof(p *Peer, now Stamp, out *Output) {
	asked := p.ext.nonceSent != [4]byte{} && p.ext.nonceLives(now)
	if c.nonces() && !asked && !p.search().exhausted(now) && c.refusePeer(p.addr()) == drop.None {
		c.bubbles(p, true, nil, now, out)
	}
}

// contested reports whether the path is being tested because a nonce has come back by another one.
func (p *Peer) contested() bool { return p.setup != nil && p.setup.rival != 0 }

// mayLearn reports whether a packet from there may make the path. Proven says that it has a nonce of ours.
func (p *Peer) mayLearn(from netip.AddrPort, via uint8, proven bool, now Stamp) bool {
	return !p.valid(now) || p.isAt(from, via) || p.provisional() && (proven || teredo.Mapped(p.addr()) == from)
}

// challenge has the path of a peer tested whose nonce has come back by another one: by an Echo Request and, as a host's firewall may
// drop that, by a solicitation where the limits of bubbles allow one.
func (c *Client) challenge(p *Peer, from netip.AddrPort, via uint8, nonce [4]byte, now Stamp, out *Output) drop.Reason {
	s := p.search()
	p.ext.nonceSent = [4]byte{}
	s.contest = contest{rival: pathWord(from, via), rivalNonce: nonce, since: now}
	if at, ok := s.mayBubble(Stamp(p.sent.Load()), now); ok && at <= now && c.cfg.Extensions.LoadReduction {
		s.countBubble(now)
		c.sendDiscoveryOption(p, teredo.DiscoverySolicitation, out)
	}
	s.sent = 0
	c.test(p, p.endpoint(), p.via(), now, out)
	return drop.None
}

// settle ends a contest that no answer has ended. Packets that have come by the path in use speak for it, if the peer has proven to be
// there.
func (c *Client) settle(p *Peer, now Stamp, out *Output) {
	k := p.setup.contest
	p.setup.contest = contest{}
	from, via := wordEndpoint(k.rival), uint8(k.rival>>pathVia)
	if p.hasProven() && Stamp(p.received.Load()) > k.since || via != 0 && !c.ownsPort(p, via) {
		c.wait(p, now) // the search goes on, if somebody needs it
		return
	}
	p.ext.nonceUsed, p.ext.usedByRandom, p.ext.second = k.rivalNonce, false, 0
	c.learn(p, from, via, true, now, out)
}
