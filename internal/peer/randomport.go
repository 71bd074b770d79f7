package peer

import (
	"crypto/subtle"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	portRefreshEvery = Stamp(30 * time.Second) // Peer Refresh Timer (K-17)
	portRefreshMost  = 20                      // Connection Refresh Count
	echoTests        = 2                       // echo tests before an indirect bubble goes out without a prediction (K-18)
	echoTimeout      = Stamp(time.Second)      // of the first; the second has twice as long
)

// echoTest finds out which external port our NAT gives to a random local port (RFC 6081 §5.5): it asks the two addresses of
// our server before and after a bubble to the peer, whose mapping lies between.
type echoTest struct {
	nonces       [2][8]byte // of the solicitations to the primary and the secondary address
	lower, upper uint16     // mapped ports that the answers told; zero: no answer yet
	tries        uint8      // zero: no test is running
}

// usesPorts reports whether the rules for random ports (§5.4.4.5) decide about direct bubbles of the peer.
func (c *Client) usesPorts(p *Peer) bool {
	x := p.ext
	return x != nil && (x.via != 0 || x.receivedRandom) || c.preserving() || c.sequential()
}

// ownsPort reports whether the random port via is open for the peer.
func (c *Client) ownsPort(p *Peer, via uint8) bool { return p != nil && c.ports[via] == p }

// told is where the peer says that its random port is mapped to, else the mapping in its address.
func (p *Peer) told() netip.AddrPort {
	m := teredo.Mapped(p.addr())
	if p.ext != nil && p.ext.peerRandomPort != 0 {
		return netip.AddrPortFrom(m.Addr(), p.ext.peerRandomPort)
	}
	return m
}

// preparePort opens a random port for the peer when the NAT can be expected to keep its number (X-PP-04).
func (c *Client) preparePort(p *Peer, now Stamp) {
	if p.valid(now) || !c.preserving() || !c.openPort(p, now) {
		return
	}
	p.ext.randomPort = p.ext.localPort
}

// openPort opens a random port for the peer if it has none, and reports whether it has one.
func (c *Client) openPort(p *Peer, now Stamp) bool {
	x := p.extend()
	if x.via != 0 {
		return true
	}
	if !c.mayOpen(p, now) {
		return false
	}
	via, port, ok := c.cfg.Ports.Open()
	if !ok {
		return false
	}
	if len(c.ports) == 0 {
		c.nextRefresh = now + portRefreshEvery
	}
	x.via, x.localPort, x.portUsed = via, port, false
	c.ports[via] = p
	return true
}

// closePort closes the peer's random port, if it has one. A path through it is no more.
func (l *list) closePort(p *Peer) {
	if x := p.ext; x != nil && x.via != 0 {
		if p.via() == x.via {
			p.noPath()
		}
		l.cfg.Ports.Close(x.via)
		delete(l.ports, x.via)
		x.via, x.localPort, x.randomPort = 0, 0, 0
		x.echo = echoTest{}
	}
}

// resetPort closes the peer's random port, and forgets which ports it was heard at.
func (c *Client) resetPort(p *Peer) {
	if x := p.ext; x != nil {
		c.closePort(p)
		x.receivedPrimary, x.receivedRandom = false, false
	}
}

// heedRandomPort takes the random port that a peer tells (X-PP-06 to X-PP-08). While packets come from the peer, a change is
// ignored; bubbles of our own are not taken for data, or a peer could not correct its prediction.
func (c *Client) heedRandomPort(p *Peer, port uint16, now Stamp) {
	x := p.ext
	if port == 0 || port == x.peerRandomPort || !c.cfg.Extensions.PortPreserving || x.peerRandomPort != 0 && p.valid(now) {
		return
	}
	if x.peerRandomPort != 0 && c.preserving() && x.portUsed {
		c.resetPort(p) // a port that was opened since then and is still unused will do, or both sides would never settle on two
	}
	x.peerRandomPort = port
}

// portTransition accepts a direct bubble at the service port (via 0) or at the peer's random port, and settles which of
// them the path leads through (§5.4.4.5, X-PP-09 to X-PP-13). See Peer.mayLearn for a path
// that is valid.
func (c *Client) portTransition(p *Peer, from netip.AddrPort, via uint8, proven bool, now Stamp, out *Output) drop.Reason {
	x := p.extend()
	switch {
	case !p.trusted(), p.isAt(from, via), via == 0 && !x.receivedPrimary && x.receivedRandom, proven:
		if via != 0 && !p.isAt(from, via) {
			c.greetFromPort(p, from, via, now, out)
		}
		c.learn(p, from, via, proven, now, out)
	case via == 0 && now-p.lastUse() >= validity, via != 0 && !x.receivedPrimary:
		// The mapping of the peer has changed, or our NAT has forgotten the one of the random port and made another.
		p.noPath()
		c.resetPort(p)
		c.ask(p, now, out)
	default:
		return drop.UnknownPeer
	}
	return drop.None
}

// greetFromPort sends a direct bubble with the peer's nonce before the data that waits for the path, for the peer may not
// have heard of the port yet (§6.4 step 7).
func (c *Client) greetFromPort(p *Peer, from netip.AddrPort, via uint8, now Stamp, out *Output) {
	s := p.setup
	p.received.Store(int64(now)) // an answer to earlier bubbles, not to the one that follows
	if s == nil || len(s.held) == 0 || p.ext.nonceReceived == [4]byte{} || s.unanswered() == maxBubbles || !c.mayAnswer(p.key, p, from.Addr(), now) {
		return
	}
	p.sent.Store(int64(now))
	s.countBubble(now)
	c.sendBubble(p, via, from, now, out)
}

// ask sends an indirect bubble, if the limits allow it now.
func (c *Client) ask(p *Peer, now Stamp, out *Output) {
	at, ok := p.search().mayBubble(Stamp(p.sent.Load()), now)
	if ok && at <= now && c.refusePeer(p.addr()) == drop.None && c.mayAnswer(p.key, p, teredo.Mapped(p.addr()).Addr(), now) {
		c.bubbles(p, true, nil, now, out)
	}
}

// startEchoTest starts an echo test in place of an indirect bubble, when our NAT asks for it (X-SEQ-01, X-SEQ-02), and
// reports whether it did.
func (c *Client) startEchoTest(p *Peer, now Stamp, out *Output) bool {
	if !c.sequential() || p.valid(now) || p.ext != nil && p.ext.randomPort != 0 || !c.openPort(p, now) {
		return false
	}
	x := p.ext
	x.echo = echoTest{tries: x.echo.tries + 1}
	c.solicitRouter(x, 0, c.server, out)
	c.sendBubble(p, x.via, p.told(), now, out)
	c.solicitRouter(x, 1, c.nat.Secondary, out)
	c.wait(p, now+Stamp(x.echo.tries)*echoTimeout) // X-SEQ-03
	return true
}

func (c *Client) solicitRouter(x *extension, n int, server netip.AddrPort, out *Output) {
	c.cfg.Rand(x.echo.nonces[n][:])
	b := teredo.AppendAuth(out.UDP.Next(), teredo.Auth{Nonce: x.echo.nonces[n]})
	out.UDP.SendVia(x.via, server, teredo.AppendRouterSolicitation(b, teredo.ClientLinkLocal(false, netip.AddrPort{})))
}

// echoing reports whether an echo test is running.
func (p *Peer) echoing() bool { return p.ext != nil && p.ext.echo.tries > 0 }

// echoPending handles the time-out of a running echo test (X-SEQ-06), and reports whether there was one.
func (c *Client) echoPending(p *Peer, now Stamp, out *Output) bool {
	if !p.echoing() {
		return false
	}
	if p.ext.echo.tries < echoTests && c.startEchoTest(p, now, out) {
		return true
	}
	c.resetPort(p)
	c.sendIndirect(p, now, out)
	c.wait(p, now+retryAfter)
	return true
}

// echoed handles a router advertisement that came to the random port via: an answer to an echo test (X-SEQ-04, X-SEQ-05).
func (c *Client) echoed(now Stamp, from netip.AddrPort, via uint8, pkt *teredo.Packet, out *Output) {
	p := c.ports[via]
	if p == nil || !p.echoing() || !c.own.IsValid() || !pkt.HasAuth || !pkt.Origin.IsValid() {
		c.cfg.Drops.Count(drop.Advertisement)
		return
	}
	e := &p.ext.echo
	is := func(n int, server netip.AddrPort) bool {
		return from == server && subtle.ConstantTimeCompare(pkt.Auth.Nonce[:], e.nonces[n][:]) == 1
	}
	switch {
	case is(0, c.server) && e.lower == 0:
		e.lower = pkt.Origin.Port()
	case is(1, c.nat.Secondary) && e.upper == 0:
		e.upper = pkt.Origin.Port()
	default:
		c.cfg.Drops.Count(drop.Advertisement)
		return
	}
	if e.lower == 0 || e.upper == 0 {
		return
	}
	p.ext.randomPort = uint16((uint32(e.lower) + uint32(e.upper)) / 2)
	e.tries = 0
	c.sendIndirect(p, now, out)
	c.wait(p, now+retryAfter)
}

// refreshPorts keeps the mappings of random ports alive for a while when no data is sent (§5.4.2.1).
func (c *Client) refreshPorts(now Stamp, out *Output) {
	if len(c.ports) == 0 || now < c.nextRefresh {
		return
	}
	c.nextRefresh = now + portRefreshEvery
	for _, via := range slices.Sorted(maps.Keys(c.ports)) {
		p := c.ports[via]
		x := p.ext
		sent := p.sentPackets.Load()
		switch {
		case !p.trusted() || p.via() != via:
			if (p.setup == nil || !p.setup.waiting()) && now-p.lastUse() >= validity {
				c.resetPort(p) // the search has ended without it
			}
		case sent != x.dataSent:
			x.refreshes = 0
		case x.refreshes < portRefreshMost && c.own.IsValid():
			x.refreshes++
			p.sent.Store(int64(now))
			c.sendBubble(p, via, p.endpoint(), now, out)
		}
		x.dataSent = sent
	}
}
