package peer

import (
	"maps"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
)

const (
	portRefreshEvery = Stamp(30 * time.Second) // Peer Refresh Timer (K-17)
	portRefreshMost  = 20                      // Connection Refresh Count

	// Random ports that strangers may have a client open: in all, and those at one IPv4 address. The others are for peers that
	// our side looks for or exchanges packets with.
	strangersPorts = 16
	sourcePorts    = 2
)

// Ports opens and closes UDP ports besides the service port. Via 0 is the service port.
type Ports struct {
	Open  func() (via uint8, port uint16, ok bool) // ok is false when there are too many already
	Close func(via uint8)
}

// randomPorts are the random ports of a client (RFC 6081 §5.4).
type randomPorts struct {
	Ports
	open        map[uint8]*Peer // for whom each is open
	nextRefresh Stamp           // of the paths through them
}

// randomPort is what a client knows of its random port for a peer, and of the peer's (RFC 6081 §5.4).
type randomPort struct {
	via          uint8  // our random port for the peer; zero: none is open
	local        uint16 // its number
	used         bool   // something has left from it, for which the NAT has made a mapping
	mapped       uint16 // its predicted external number, as advertised; zero: not known
	peers        uint16 // the peer's, as advertised
	heardPrimary bool   // the peer was last heard at the service port
	heardRandom  bool   // or at the random port
	refreshes    uint8  // direct bubbles since data was last sent (§5.4.2.1)
	dataSent     uint64 // count of data packets at the last refresh
}

// preserving reports whether random ports can be expected to keep their number in our symmetric NAT.
func (c *Client) preserving() bool {
	return c.extensions.PortPreserving && c.nat.Symmetric && c.nat.PortPreserving
}

// usesPorts reports whether the rules for random ports (RFC 6081 §5.4.4.5) decide about direct bubbles of the peer.
func (c *Client) usesPorts(p *Peer) bool {
	return p.details != nil && (p.details.random.via != 0 || p.details.random.heardRandom) || c.preserving() || c.sequential()
}

// ownsPort reports whether the random port via is open for the peer.
func (c *Client) ownsPort(p *Peer, via uint8) bool { return p != nil && c.ports.open[via] == p }

// advertised is where the peer says that its random port is mapped to, else the mapping in its address.
func (p *Peer) advertised() endpoint {
	m := p.mapped()
	if p.details != nil && p.details.random.peers != 0 {
		return m>>16<<16 | endpoint(p.details.random.peers)
	}
	return m
}

// preparePort opens a random port for the peer when the NAT can be expected to keep its number (RFC 6081 §5.4.4.3, X-PP-04).
func (c *Client) preparePort(p *Peer, now Stamp) {
	if !p.valid(now) && c.preserving() && c.openPort(p, now) {
		p.details.random.mapped = p.details.random.local
	}
}

// openPort opens a random port for the peer if it has none, and reports whether it has one.
func (c *Client) openPort(p *Peer, now Stamp) bool {
	x := &p.ensureDetails().random
	if x.via != 0 {
		return true
	}
	if !c.mayOpen(p, now) {
		return false
	}
	via, port, ok := c.ports.Open()
	if !ok {
		return false
	}
	if len(c.ports.open) == 0 {
		c.ports.nextRefresh = now + portRefreshEvery
	}
	x.via, x.local, x.used = via, port, false
	c.ports.open[via] = p
	return true
}

// mayOpen reports whether a random port may be opened for the peer.
func (c *Client) mayOpen(p *Peer, now Stamp) bool {
	if p.isWanted(now) {
		return true
	}
	inAll, same := 0, 0
	for _, q := range c.ports.open {
		if q.isWanted(now) || q.bidirectional() {
			continue
		}
		inAll++
		if q.network() == p.network() {
			same++
		}
	}
	return c.budgets.allows(ports, inAll < strangersPorts && same < sourcePorts)
}

// closePort closes the peer's random port, if it has one. A path through it is no more.
func (c *Client) closePort(p *Peer) {
	if p.details == nil || p.details.random.via == 0 {
		return
	}
	x := &p.details.random
	if p.path.Load().via() == x.via {
		p.noPath()
	}
	c.ports.Close(x.via)
	delete(c.ports.open, x.via)
	x.via, x.local, x.mapped = 0, 0, 0
	p.details.echo = echoTest{}
}

// resetPort closes the peer's random port, and forgets which ports it was heard at.
func (c *Client) resetPort(p *Peer) {
	c.closePort(p)
	if p.details != nil {
		p.details.random.heardPrimary, p.details.random.heardRandom = false, false
	}
}

// takeRandomPort takes the random port that a peer advertises (RFC 6081 §5.4.4.4, X-PP-06 to X-PP-08). While packets come from the
// peer, a change is ignored; bubbles of our own are not taken for data, or a peer could not correct its prediction.
func (c *Client) takeRandomPort(p *Peer, port uint16, now Stamp) {
	x := &p.details.random
	if port == 0 || port == x.peers || !c.extensions.PortPreserving || x.peers != 0 && p.valid(now) {
		return
	}
	if x.peers != 0 && c.preserving() && x.used {
		c.resetPort(p) // a port that was opened since then and is still unused will do, or both sides would never settle on two
	}
	x.peers = port
}

// sendFromRandomPort sends a direct bubble from a random port behind a port-preserving NAT (RFC 6081 §5.4.4.3, A-31). The
// first datagram from that port decides for which destination the NAT keeps its number. So it waits until an indirect bubble has
// told whether the peer has a random port of its own (§3.3).
func (c *Client) sendFromRandomPort(p *Peer, now Stamp, out *Output) {
	if p.details == nil || !p.details.asked || !c.preserving() {
		return
	}
	c.preparePort(p, now)
	if via := p.details.random.via; via != 0 && c.mayAnswer(p.key, p, p.advertised().addr(), now) {
		c.sendBubble(p, pathTo(p.advertised(), via), now, out)
	}
}

// sendToRandomPort sends a direct bubble to the random port of a peer from behind a NAT that is not symmetric (X-PP-16).
func (c *Client) sendToRandomPort(p *Peer, now Stamp, out *Output) {
	if to := p.advertised(); !c.nat.Symmetric && !p.valid(now) && to != p.mapped() && c.mayAnswer(p.key, p, to.addr(), now) {
		c.sendBubble(p, pathTo(to, 0), now, out)
	}
}

// heardAt notes the local port of the path that a packet of the peer tells. Once that is the service port, no random port is
// needed; nor is an echo test, whichever it is (X-SEQ-07).
func (c *Client) heardAt(p *Peer, via uint8) {
	if p.details == nil {
		return
	}
	p.details.random.heardPrimary, p.details.random.heardRandom = via == 0, via != 0
	p.details.echo = echoTest{}
	if via == 0 {
		c.closePort(p)
	}
}

// chooseLocalPort accepts a direct bubble at the service port or at the peer's random port, and decides which of them the path
// leads through (RFC 6081 §5.4.4.5, X-PP-09 to X-PP-13). Peer.mayMove has decided about a path that is valid.
func (c *Client) chooseLocalPort(p *Peer, at path, verified bool, now Stamp, out *Output) drop.Reason {
	x, service := &p.ensureDetails().random, at.via() == 0
	switch {
	case !p.trusted(), p.isAt(at), service && !x.heardPrimary && x.heardRandom, verified:
		if !service && !p.isAt(at) {
			c.bubbleFromRandomPort(p, at, now, out)
		}
		c.learn(p, at, verified, now, out)
	case service && now-p.lastUse() >= validity, !service && !x.heardPrimary:
		// The mapping of the peer has changed, or our NAT has forgotten the one of the random port and made another.
		p.noPath()
		c.resetPort(p)
		c.ask(p, now, out)
	default:
		return drop.UnknownPeer
	}
	return drop.None
}

// bubbleFromRandomPort sends a direct bubble with the peer's nonce before the data that waits for the path, for the peer may
// not have heard of the port yet (RFC 6081 §6.4 step 7).
func (c *Client) bubbleFromRandomPort(p *Peer, at path, now Stamp, out *Output) {
	s := p.search
	p.received.Store(now) // an answer to earlier bubbles, not to the one that follows
	if s == nil || len(s.held) == 0 || p.details.received == (nonce{}) || s.unanswered() == maxBubbles || !c.mayAnswer(p.key, p, at.endpoint().addr(), now) {
		return
	}
	p.sent.Store(now)
	s.bubbles.add(now)
	c.sendBubble(p, at, now, out)
}

// refreshPorts keeps the mappings of random ports alive for a while when no data is sent (RFC 6081 §5.4.2.1).
func (c *Client) refreshPorts(now Stamp, out *Output) {
	if len(c.ports.open) == 0 || now < c.ports.nextRefresh {
		return
	}
	c.ports.nextRefresh = now + portRefreshEvery
	for _, via := range slices.Sorted(maps.Keys(c.ports.open)) {
		p := c.ports.open[via]
		x := &p.details.random
		sent := p.sentPackets.Load()
		switch {
		case !p.trusted() || p.path.Load().via() != via:
			if !p.searching() && now-p.lastUse() >= validity {
				c.resetPort(p) // the search has ended without it
			}
		case sent != x.dataSent:
			x.refreshes = 0
		case x.refreshes < portRefreshMost && c.own.IsValid():
			x.refreshes++
			p.sent.Store(now)
			c.sendBubble(p, p.path.Load(), now, out)
		}
		x.dataSent = sent
	}
}
