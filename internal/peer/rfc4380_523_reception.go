package peer

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// datagram is a UDP payload that a client has received, with what is known of its sender.
type datagram struct {
	at       path // where it came from, and the local port that it came to
	src      key
	peer     *Peer // the entry of the source; nil: none
	ipv6     []byte
	origin   netip.AddrPort // from the server: the origin indication
	trailers trailers
	bubble   bool // of a Teredo client
	verified bool // a bubble with a nonce of ours (RFC 6081 §5.2.4.4)
}

// fromMapped reports whether the datagram came from the mapped address and port in its source address.
func (d *datagram) fromMapped() bool { return d.src.isTeredo() && d.src.mapped() == d.at.endpoint() }

// InboundVia handles a well-formed UDP payload to the local port via that Table.Incoming did not take (RFC 4380 §5.2.3). Router
// advertisements to the service port, 0, are not given to it; those to a random port answer echo tests.
func (c *Client) InboundVia(t time.Time, from netip.AddrPort, via uint8, pkt *teredo.Packet, out *Output) {
	now, at := c.table.Stamp(t), pathTo(endpointOf(from), via)
	if via != 0 && teredo.IsICMPv6Type(pkt.IPv6, teredo.ICMPv6RouterAdvertisement) {
		c.count(c.echoed(at, pkt, now, out))
		return
	}
	c.count(c.inbound(at, pkt, now, out))
}

// inbound looks the source up, and separates what the server has sent from what came directly (RFC 4380 §5.2.3).
func (c *Client) inbound(at path, pkt *teredo.Packet, now Stamp, out *Output) drop.Reason {
	d := datagram{at: at, src: sourceOf(pkt.IPv6), ipv6: pkt.IPv6, origin: pkt.Origin, trailers: parseTrailers(pkt.Trailers)}
	d.peer = c.table.lookup(d.src)
	d.bubble = d.src.isTeredo() && teredo.IsBubble(d.ipv6)
	switch {
	case !c.own.IsValid():
		return drop.NotQualified
	case destinationOf(d.ipv6) != c.ownKey:
		return drop.Destination
	case d.trailers.discard:
		return drop.Trailers
	case at.via() != 0 && !c.ownsPort(d.peer, at.via()):
		return drop.UnknownPeer
	case c.refuses(d.ipv6):
		return drop.None
	case at.endpoint() == c.server:
		return c.fromServer(&d, now, out)
	case at.endpoint() == c.mapped:
		return drop.Loop
	}
	d.verified = d.bubble && c.verifies(&d, now)
	if at.endpoint().port() == 0 || !c.filter.Global(at.endpoint().addr()) && !d.verified && !d.peer.isAlternate(at.endpoint()) && !c.knows(d.peer, at, now) {
		return drop.NotGlobal
	}
	return c.direct(&d, now, out)
}

// direct is the list of cases of RFC 4380 §5.2.3 for packets that did not come from the server. Case 4, a local discovery
// bubble, is Client.Discovered.
func (c *Client) direct(d *datagram, now Stamp, out *Output) drop.Reason {
	answers := c.answersTest(d)
	data := !answers && !teredo.IsBubble(d.ipv6) && !c.table.isTestReply(d.ipv6) // late and repeated answers end here, too
	if why := c.noteSymmetricPeer(d, now); why != drop.None {
		return why
	}
	switch {
	case !answers && d.peer.hasRelay(d.at, now):
		if data {
			c.acceptBeside(d.peer, d.at, d.ipv6, out)
		}
		return drop.None
	case d.peer.isAt(d.at): // case 1, C-RX-10
	case answers: // case 2, C-RX-11 and C-RX-17
	case d.fromMapped(): // case 3, C-RX-12
		if d.peer = c.admit(d.peer, d.src, now); d.peer == nil && d.bubble {
			return drop.TableFull
		} else if d.peer == nil {
			if data {
				out.deliver(d.ipv6) // only the path is not remembered
			}
			return drop.None
		}
	case c.isLocalAt(d.peer, d.at.endpoint(), now): // case 5, C-RX-14
	case d.verified, data && d.peer.isAlsoAt(d.at): // RFC 6081 §5.2.4.4
	case data && (c.native(d.src) || c.nonceMayVerify(d)): // case 6, C-RX-15
		return c.holdForTest(d, d.at.endpoint(), now, out)
	default:
		d.noteUnverified(now)
		return drop.UnknownPeer // X-SNS-08
	}
	if d.bubble {
		return c.directBubble(d, now, out)
	}
	switch p := d.peer; {
	case answers && p.search.beside != 0:
		c.admitRelay(p, now, out)
	case answers && !p.isTeredo():
		c.learnRelay(p, d.at, now, out)
	case answers || p.mayMove(d.at, false, now):
		c.learn(p, d.at, answers && !p.provisional(), now, out)
	case !data:
		return drop.UnknownPeer
	}
	if data {
		c.accept(d.peer, d.ipv6, out)
	}
	return drop.None
}

// knows reports whether packets of the peer come by the path, or from its local endpoint. A path with a non-global address was
// found by local discovery, at an alternate address, or by a bubble with the nonce of our last indirect one, which verifies any
// source, also without the hairpinning extension. It stays when the peer ceases to announce itself.
func (c *Client) knows(p *Peer, at path, now Stamp) bool {
	return p.isAt(at) || c.isLocalAt(p, at.endpoint(), now)
}

// learn makes the path by which a packet has come the path of the peer, and sends what was held for it (RFC 4380 §5.2.3). Packets
// for an asymmetric peer go to the mapping in its address. Verified says that a nonce of ours has come back; only that ends a
// migration at once.
func (c *Client) learn(p *Peer, at path, verified bool, now Stamp, out *Output) {
	if !verified && p.migrating() && p.isAt(at) {
		p.received.Store(now)
		return
	}
	c.heardAt(p, at.via())
	first := !p.valid(now)
	to := at
	if c.isAsymmetric(p, at, now) {
		to = pathTo(p.mapped(), at.via())
	}
	c.trust(p, to, at, p.alsoAt(), now, out)
	switch {
	case verified && p.isTeredo():
		p.ensureDetails().verified = at
	case first && p.provisional():
		c.verifyLocal(p, now, out)
	}
}

// fromServer handles what came from the server (RFC 4380 §5.2.3): bubbles, ICMPv6 of native hosts that the server has passed
// on, and packets of those that it relays.
func (c *Client) fromServer(d *datagram, now Stamp, out *Output) drop.Reason {
	bubble := teredo.IsBubble(d.ipv6)
	switch {
	case d.bubble:
		return c.indirectBubble(d, now, out)
	case !bubble && c.native(d.src) && !d.origin.IsValid():
		return c.fromServersRelay(d, now, out)
	case !d.origin.IsValid() || !c.filter.Global(d.origin.Addr()) || d.origin.Port() == 0:
		return drop.NotGlobal
	case endpointOf(d.origin) == c.mapped:
		return drop.Loop
	case bubble: // C-RX-05
		return c.answerRelay(d, now, out)
	case c.native(d.src) && teredo.NextHeader(d.ipv6) == nextHeaderICMPv6:
		return c.holdForTest(d, endpointOf(d.origin), now, out) // C-RX-04
	}
	return drop.NotAllowed
}

// indirectBubble handles a bubble that another client sent through our server. The answer, a direct bubble, opens our NAT
// and tells the path; while we have none to the peer, an indirect one asks for the same (RFC 4380 §5.2.3, C-RX-06, X-SNS-12). An
// indirect bubble with a new nonce is answered directly also within 2 s of another transmission, as in RFC 6081 §6.1 and
// §6.3: only so can both learn their paths from one exchange. The limit of 4 in 300 s holds. A bubble that is not answered
// changes nothing.
func (c *Client) indirectBubble(d *datagram, now Stamp, out *Output) drop.Reason {
	if why := c.refusePeer(d.src); why != drop.None {
		return why
	}
	if d.trailers.malformed && c.extensions.Hairpinning {
		return drop.Trailers // X-HP-06
	}
	p := c.admit(d.peer, d.src, now)
	if p == nil {
		return drop.TableFull
	}
	isNew := c.isNewNonce(p, d.trailers.nonce)
	s := p.ensureSearch()
	s.noteIndirect(d.origin)
	at, ok := s.nextBubble(p.sent.Load(), now)
	if !ok || at > now && !isNew {
		return drop.None
	}
	if !c.mayAnswer(p.key, p, p.mapped().addr(), now) {
		return drop.Budget
	}
	repeated := isNew && p.asksAgain(now)
	alternates := c.heed(p, &d.trailers, now)
	c.sendBubbles(p, at <= now && !p.valid(now) || repeated, alternates, now, out)
	if c.isLocal(p, now) && c.mayAnswer(p.key, p, p.details.local.at.addr(), now) {
		c.knockLocally(p, now, out) // it does not know that we are neighbours, or waits to hear from us on the subnet
	}
	return drop.None
}

// answerRelay sends a direct bubble to a relay, which may be the server itself, or to a Miredo client, that asks for one (RFC 4380
// §5.4.1 case 3). It goes to the source of the bubble that asks, which authenticates it.
func (c *Client) answerRelay(d *datagram, now Stamp, out *Output) drop.Reason {
	if origin := d.origin.Addr(); !c.budgets.mayCause(answers, networkOf(origin), origin, now) {
		return drop.Budget
	}
	out.UDP.Send(d.origin, teredo.AppendBubble(out.UDP.Next(), c.own, d.src.addr(), BubbleHopLimit))
	return drop.None
}

// fromServersRelay handles what a server that is a relay, too, sends from its own port 3544 (RFC 4380 §5.4.3, A-43). A
// connectivity test verifies such a path like any other. Until then packets are neither delivered nor held: everybody can read the
// server's endpoint in our address, and no NAT keeps packets from there out. Such a packet causes one test at most, and the next
// ones are delivered when the answer has come.
func (c *Client) fromServersRelay(d *datagram, now Stamp, out *Output) drop.Reason {
	if d.peer.isAt(d.at) || c.answersTest(d) {
		return c.direct(d, now, out)
	}
	if !c.table.isTestReply(d.ipv6) {
		if p := c.admit(d.peer, d.src, now); p != nil && !p.ensureSearch().isWaiting() {
			c.try(p, now, out)
		}
	}
	return drop.UnknownPeer
}
