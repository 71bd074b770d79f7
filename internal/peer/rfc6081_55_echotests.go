package peer

import (
	"crypto/subtle"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	echoTests   = 2                  // echo tests before an indirect bubble goes out without a prediction (K-18)
	echoTimeout = Stamp(time.Second) // of the first; the second has twice as long
)

// echoTest finds out which external port our NAT gives to a random local port (RFC 6081 §5.5): it asks the two addresses of
// our server before and after a bubble to the peer, whose mapping lies between.
type echoTest struct {
	nonces       [2][8]byte // of the solicitations to the primary and the secondary address
	lower, upper uint16     // mapped ports that the answers told; zero: no answer yet
	tries        uint8      // zero: no test is running
}

// sequential reports whether random ports need an echo test to be of use.
func (c *Client) sequential() bool {
	return c.extensions.Sequential && c.nat.Symmetric && !c.nat.PortPreserving && c.nat.Secondary.IsValid()
}

// echoing reports whether an echo test is running.
func (p *Peer) echoing() bool { return p.details != nil && p.details.echo.tries > 0 }

// startEchoTest starts an echo test in place of an indirect bubble, when our NAT asks for it (RFC 6081 §5.5, X-SEQ-01,
// X-SEQ-02), and reports whether it did.
func (c *Client) startEchoTest(p *Peer, now Stamp, out *Output) bool {
	if !c.sequential() || p.valid(now) || p.details != nil && p.details.random.mapped != 0 || !c.openPort(p, now) {
		return false
	}
	d := p.details
	d.echo = echoTest{tries: d.echo.tries + 1}
	c.solicitRouter(d, 0, c.server.addrPort(), out)
	c.sendBubble(p, pathTo(p.advertised(), d.random.via), now, out)
	c.solicitRouter(d, 1, c.nat.Secondary, out)
	c.wait(p, now+Stamp(d.echo.tries)*echoTimeout) // X-SEQ-03
	return true
}

func (c *Client) solicitRouter(d *details, n int, server netip.AddrPort, out *Output) {
	c.random(d.echo.nonces[n][:])
	b := teredo.AppendAuth(out.UDP.Next(), teredo.Auth{Nonce: d.echo.nonces[n]})
	out.UDP.SendVia(d.random.via, server, teredo.AppendRouterSolicitation(b, teredo.ClientLinkLocal(false, netip.AddrPort{})))
}

// echoPending handles the time-out of a running echo test (RFC 6081 §5.5, X-SEQ-06), and reports whether there was one.
func (c *Client) echoPending(p *Peer, now Stamp, out *Output) bool {
	if !p.echoing() {
		return false
	}
	if p.details.echo.tries < echoTests && c.startEchoTest(p, now, out) {
		return true
	}
	c.resetPort(p)
	c.sendIndirect(p, now, out)
	c.wait(p, now+retryAfter)
	return true
}

// echoed handles a router advertisement that came to a random port: an answer to an echo test (RFC 6081 §5.5, X-SEQ-04, X-SEQ-05).
func (c *Client) echoed(at path, pkt *teredo.Packet, now Stamp, out *Output) drop.Reason {
	p := c.ports.open[at.via()]
	if p == nil || !p.echoing() || !c.own.IsValid() || !pkt.HasAuth || !pkt.Origin.IsValid() {
		return drop.Advertisement
	}
	from, e := at.endpoint().addrPort(), &p.details.echo
	is := func(n int, server netip.AddrPort) bool {
		return from == server && subtle.ConstantTimeCompare(pkt.Auth.Nonce[:], e.nonces[n][:]) == 1
	}
	switch {
	case is(0, c.server.addrPort()) && e.lower == 0:
		e.lower = pkt.Origin.Port()
	case is(1, c.nat.Secondary) && e.upper == 0:
		e.upper = pkt.Origin.Port()
	default:
		return drop.Advertisement
	}
	if e.lower == 0 || e.upper == 0 {
		return drop.None
	}
	p.details.random.mapped = uint16((uint32(e.lower) + uint32(e.upper)) / 2)
	e.tries = 0
	c.sendIndirect(p, now, out)
	c.wait(p, now+retryAfter)
	return drop.None
}
