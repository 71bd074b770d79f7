package peer

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// bubbles sends direct bubbles to a Teredo peer, also to its alternate addresses, and, if asked to, an indirect one through
// its server. Together they count as one. Their order is that of the examples in RFC 6081 §6.
func (c *Client) bubbles(p *Peer, indirect bool, alternates []netip.AddrPort, now Stamp, out *Output) {
	p.sent.Store(int64(now))
	p.search().countBubble(now)
	if indirect {
		c.preparePort(p, now)
	}
	c.sendDirect(p, now, out)
	for _, a := range alternates {
		if c.mayTry(a) && c.mayAnswer(p.key, p, a.Addr(), now) {
			c.sendBubble(p, 0, a, now, out) // X-HP-04, X-HP-05
		}
	}
	if indirect && c.mayAnswer(p.key, p, teredo.ServerOf(p.addr()), now) && !c.startEchoTest(p, now, out) {
		c.sendIndirect(p, now, out)
	}
	if to := p.told(); !c.nat.Symmetric && !p.valid(now) && to != teredo.Mapped(p.addr()) && c.mayAnswer(p.key, p, to.Addr(), now) {
		c.sendBubble(p, 0, to, now, out) // X-PP-16
	}
}

// sendDirect sends a direct bubble (RFC 4380 §5.2.6, RFC 6081 §5.2.4.2, §5.3.4.2, §5.4.4.3): on the path that is known for
// sure, else to the mapping in the peer's address and, from our random port, to the one that the peer has told.
func (c *Client) sendDirect(p *Peer, now Stamp, out *Output) {
	if p.valid(now) && !p.provisional() && c.nonces() {
		c.sendBubble(p, p.via(), p.endpoint(), now, out)
		return
	}
	c.sendBubble(p, 0, teredo.Mapped(p.addr()), now, out)
	if x := p.ext; x != nil && x.asked && c.preserving() {
		// The first datagram from the random port decides for which destination the NAT keeps its number. So it waits until
		// an indirect bubble has told whether the peer has a random port of its own (§3.3).
		c.preparePort(p, now)
		if x.via != 0 && c.mayAnswer(p.key, p, p.told().Addr(), now) {
			c.sendBubble(p, x.via, p.told(), now, out)
		}
	}
}

// sendBubble sends a direct bubble. It carries the nonce that the peer sent last (X-SNS-03) and, from a random port, the number of
// that port. An indirect bubble is easily made up, so what is no answer to one goes with the nonce before, too, for a while.
func (c *Client) sendBubble(p *Peer, via uint8, to netip.AddrPort, now Stamp, out *Output) {
	x := p.ext
	if x == nil {
		out.UDP.SendVia(via, to, teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit))
		return
	}
	x.portUsed = x.portUsed || via != 0
	c.sendNonced(p, via, to, x.nonceReceived, out)
	if x.nonceBefore != [4]byte{} && now > x.heeded && now-x.replaced < nonceLife {
		c.sendNonced(p, via, to, x.nonceBefore, out)
	}
}

func (c *Client) sendNonced(p *Peer, via uint8, to netip.AddrPort, nonce [4]byte, out *Output) {
	b := teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit)
	if nonce != [4]byte{} {
		b = teredo.AppendNonceTrailer(b, nonce)
	}
	if via != 0 && p.ext.randomPort != 0 {
		b = teredo.AppendRandomPortTrailer(b, p.ext.randomPort)
	}
	out.UDP.SendVia(via, to, b)
}

// sendIndirect sends an indirect bubble through the peer's server, with the trailers of RFC 6081: a new nonce (X-SNS-02), our
// other addresses while there is no path (X-HP-02), and the random port if one is open (X-PP-04).
func (c *Client) sendIndirect(p *Peer, now Stamp, out *Output) {
	dst := p.addr()
	b := teredo.AppendBubble(out.UDP.Next(), c.own, dst, BubbleHopLimit)
	if c.nonces() {
		x := p.extend()
		x.nonceSent, x.nonceSentAt, x.guesses = c.newNonce(), now, 0
		b = teredo.AppendNonceTrailer(b, x.nonceSent)
		if c.cfg.Extensions.Hairpinning && c.nat.Local.Addr().Is4() {
			b = c.appendAlternates(b)
		}
		if x.randomPort != 0 {
			b = teredo.AppendRandomPortTrailer(b, x.randomPort)
		}
	}
	out.UDP.Send(netip.AddrPortFrom(teredo.ServerOf(dst), teredo.Port), b)
}

// newNonce returns a random nonce that is not zero, which means none (X-SNS-11).
func (c *Client) newNonce() (nonce [4]byte) {
	for nonce == [4]byte{} {
		c.cfg.Rand(nonce[:])
	}
	return nonce
}

func (c *Client) appendAlternates(b []byte) []byte {
	if c.nat.External.IsValid() {
		return teredo.AppendAlternateAddressTrailer(b, c.nat.Local, c.nat.External)
	}
	return teredo.AppendAlternateAddressTrailer(b, c.nat.Local)
}

// indirectBubble handles a bubble that another client sent through our server. The answer, a direct bubble, opens our NAT
// and tells the path; while we have none to the peer, an indirect one asks for the same (C-RX-06, X-SNS-12). An indirect
// bubble with a new nonce is answered directly also within 2 s of another transmission, as in RFC 6081 §6.1 and §6.3, for
// only then can both learn their paths from one exchange; the limit of 4 in 300 s holds. One that is not answered changes nothing.
// Who asks again has not got the answer by the path that is in use, so an indirect bubble asks where it is now.
func (c *Client) indirectBubble(now Stamp, src key, trailing []byte, out *Output) drop.Reason {
	if why := c.refusePeer(src.addr()); why != drop.None {
		return why
	}
	said := parseTrailers(trailing)
	if said.malformed && c.cfg.Extensions.Hairpinning {
		return drop.Trailers // X-HP-06
	}
	p := c.admit(src, now)
	if p == nil {
		return drop.TableFull
	}
	fresh := c.nonces() && said.nonce != [4]byte{} && said.nonce != p.extend().nonceReceived
	at, ok := p.search().mayBubble(Stamp(p.sent.Load()), now)
	if !ok || at > now && !fresh {
		return drop.None
	}
	if !c.mayAnswer(src, p, teredo.Mapped(src.addr()).Addr(), now) {
		return drop.Budget
	}
	again := false
	if c.nonces() {
		x := p.extend()
		again = fresh && p.valid(now) && now-x.heeded < nonceLife && Stamp(p.received.Load()) < x.heeded
		x.asked = true
		x.heedNonce(said.nonce, now) // X-SNS-05, X-SNS-06
		c.heedRandomPort(p, said.randomPort, now)
		if c.cfg.Extensions.Hairpinning {
			x.setAlternates(said.alternates[:said.nalternate])
		}
	}
	if c.sequential() && p.trusted() && !p.valid(now) {
		p.noPath()
		c.resetPort(p) // our NAT may have forgotten the mapping that was predicted
	}
	var alternates []netip.AddrPort
	if c.cfg.Extensions.Hairpinning && !p.valid(now) {
		alternates = said.alternates[:said.nalternate]
	}
	c.bubbles(p, at <= now && !p.valid(now) || again, alternates, now, out)
	if c.isLocal(p, now) && c.mayAnswer(src, p, wordEndpoint(p.ext.local).Addr(), now) {
		c.knockLocally(p, now, out) // it does not know that we are neighbours, or waits to hear from us on the subnet
	}
	return drop.None
}

// mayTry reports whether a bubble may go to an address that a peer says it has. Private ones are what hairpinning is for
// (X-HP-07), but not for a client whose own address is global: it shares no NAT with anybody, so such a bubble could only leak
// or annoy (X-HP-04). Our own, broadcast and the like are not either (X-HP-09). Those that are not unicast have had the bubble
// dropped.
func (c *Client) mayTry(a netip.AddrPort) bool {
	ip, local := a.Addr(), c.nat.Local.Addr()
	filter := c.cfg.Filter
	if !filter.Global(local) {
		filter.Permit = []netip.Prefix{netip.PrefixFrom(ip, 32)}
	}
	return ip != local && a != c.mapped && a != c.nat.External && filter.Global(ip) && a.Port() != teredo.Port
}

// directBubble handles a bubble of a Teredo peer that came directly (RFC 4380 §5.2.3, RFC 6081 §5.2.4.4, §5.3.4.1, §5.4.4.5,
// §5.7.4.2). proven says that it carries the nonce of our last indirect bubble to the peer.
func (c *Client) directBubble(now Stamp, src key, from netip.AddrPort, via uint8, proven bool, said *trailers, out *Output) drop.Reason {
	p := c.table.lookup(src)
	matches := teredo.Mapped(src.addr()) == from
	if !matches && c.cfg.Extensions.UPnP && c.nat.PortMapping && !c.isLocalAt(p, from, now) {
		if p == nil {
			if c.refusePeer(src.addr()) != drop.None {
				return drop.UnknownPeer
			}
			if p = c.admit(src, now); p == nil {
				return drop.TableFull
			}
		}
		p.extend().symmetricPeer = true // X-UPNP-07, A-08
	}
	if !matches && !proven && !c.knows(p, from, via, now) {
		p.noteStranger(from, via, said.nonce, now)
		return drop.UnknownPeer // X-SNS-08
	}
	if p == nil {
		if p = c.admit(src, now); p == nil {
			return drop.TableFull
		}
	}
	if !p.mayLearn(from, via, proven, now) {
		switch {
		case !proven || p.contested():
			return drop.UnknownPeer
		case said.nonce != p.ext.nonceUsed:
			return c.challenge(p, from, via, said.nonce, now, out)
		}
	}
	if proven {
		p.noteProof(said, from, via)
	}
	sent := p.firstHeld()
	switch {
	case p.unproven() && p.isAt(from, via):
		p.received.Store(int64(now)) // one more bubble proves nothing
	case c.usesPorts(p):
		if why := c.portTransition(p, from, via, proven, now, out); why != drop.None {
			return why
		}
	default:
		c.learn(p, from, via, proven, now, out) // X-SNS-09
	}
	c.doubt(p, sent, now)
	if said.hasND && said.discovery == teredo.DiscoverySolicitation && c.cfg.Extensions.LoadReduction {
		c.advertise(p, now, out)
	}
	return drop.None
}

// solicit tries an idle path directly before the search begins anew (RFC 6081 §5.7): three direct bubbles with a Neighbor
// Discovery solicitation, 2 s apart. It reports whether it has done what is due.
func (c *Client) solicit(p *Peer, now Stamp, out *Output) bool {
	const solicitations = 3
	if !c.cfg.Extensions.LoadReduction || !p.trusted() {
		return false
	}
	x, s := p.extend(), p.setup
	if at, ok := s.mayBubble(Stamp(p.sent.Load()), now); !ok {
		return false
	} else if at > now {
		c.wait(p, at)
		return true
	}
	if s.sent == 0 {
		x.solicited = 0
	}
	x.solicited++
	s.sent++
	s.countBubble(now)
	p.sent.Store(int64(now))
	c.sendDiscoveryOption(p, teredo.DiscoverySolicitation, out)
	c.wait(p, now+retryAfter)
	if x.solicited < solicitations {
		return true
	}
	// As if nothing had been established: behind a symmetric NAT it takes two pairs of bubbles and an answer to find the path
	// anew, for which there would be no room beside three solicitations (§5.7.2).
	p.noPath()
	s.nbubbles = 0
	s.countBubble(now)
	s.sent = transmissions - 2 // two pairs are left
	c.resetPort(p)
	if c.refusePeer(p.addr()) != drop.None {
		return true // known on the subnet only
	}
	c.preparePort(p, now)
	if !c.startEchoTest(p, now, out) {
		c.sendIndirect(p, now, out)
	}
	return true
}

// advertise answers a Neighbor Discovery solicitation on the peer's path, within the limits of RFC 4380 §5.2.6 (X-SLR-04).
func (c *Client) advertise(p *Peer, now Stamp, out *Output) {
	if at, ok := p.search().mayBubble(Stamp(p.sent.Load()), now); !ok || at > now || !p.trusted() || !c.mayAnswer(p.key, p, p.endpoint().Addr(), now) {
		return
	}
	p.setup.countBubble(now)
	p.sent.Store(int64(now))
	c.sendDiscoveryOption(p, teredo.DiscoveryAdvertisement, out)
}

func (c *Client) sendDiscoveryOption(p *Peer, kind uint8, out *Output) {
	b := teredo.AppendBubble(out.UDP.Next(), c.own, p.addr(), BubbleHopLimit)
	if p.ext != nil && p.ext.nonceReceived != [4]byte{} {
		b = teredo.AppendNonceTrailer(b, p.ext.nonceReceived)
	}
	out.UDP.SendVia(p.via(), p.endpoint(), teredo.AppendNeighborDiscoveryTrailer(b, kind))
}
