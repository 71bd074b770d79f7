package peer

import (
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// BubbleHopLimit is the hop limit of our bubbles and connectivity tests; the RFC leaves it open.
const BubbleHopLimit = 255

// Client is the machine of a client's path rules: transmission (RFC 4380 §5.2.4), reception (§5.2.3), bubbles (§5.2.6)
// and the direct IPv6 connectivity test (§5.2.9). One goroutine owns it.
type Client struct {
	list
	own    netip.Addr     // own Teredo address; zero: not qualified
	mapped netip.AddrPort // own mapped address and port
	last   netip.Addr     // the address that the list belongs to
	server netip.AddrPort
	nat    NAT
	discovery
	nextRefresh Stamp // of the paths through random ports
}

// NewClient makes a client that knows no peer and has no address yet.
func NewClient(now time.Time, cfg Config) *Client {
	return &Client{list: newList(now, cfg, false)}
}

// SetAddress gives the client its Teredo address, or takes it away (zero). A different address than the last one means a
// new mapping, through which no peer has a path: the list is emptied.
func (c *Client) SetAddress(own netip.Addr) {
	c.own = own
	if !own.IsValid() {
		c.table.own.Store(nil)
		return
	}
	if own != c.last {
		c.clear()
		c.last = own
	}
	c.mapped = teredo.Mapped(own)
	c.server = netip.AddrPortFrom(teredo.ServerOf(own), teredo.Port)
	c.errorSource = teredo.ServerLinkLocal(teredo.ServerOf(own))
	c.discovery.next = 0 // at once
	k := keyOf(own)
	c.table.own.Store(&k)
}

// Outbound handles an IPv6 packet of the local stack that Table.Outgoing had no path for (RFC 4380 §5.2.4).
func (c *Client) Outbound(t time.Time, packet []byte, out *Output) {
	now := c.table.Stamp(t)
	if why := c.refuse(packet, now); why != drop.None {
		c.cfg.Drops.Count(why)
		return
	}
	p := c.add(keyAt(packet[24:]), now)
	if p.valid(now) {
		c.transmit(p, packet, now, out)
		return
	}
	p.path.Or(pathSought)
	p.want(now)
	c.hold(p, held{packet: packet}) // without room for the packet, the path is still wanted for the next ones
	if !p.setup.waiting() {
		c.try(p, now, out)
	}
}

// refuse says why a packet of the local stack is not sent, if it is not.
func (c *Client) refuse(packet []byte, now Stamp) drop.Reason {
	if teredo.CheckIPv6(packet) != nil {
		return drop.NotIPv6
	}
	src, dst := keyAt(packet[8:]), keyAt(packet[24:])
	switch {
	case !dst.isTeredo() && !c.native(dst):
		return drop.Scope
	case !c.own.IsValid():
		return drop.NotQualified
	case src != keyOf(c.own):
		return drop.Source
	case dst.isTeredo():
		if p := c.table.lookup(dst); p != nil && c.isLocal(p, now) {
			return drop.None
		}
		return c.refusePeer(dst.addr())
	}
	return drop.None
}

// refusePeer says why nothing is sent to a Teredo address that we have no path to, if nothing is. An address with our own
// mapping leads back to us (SEC-LOOP).
func (c *Client) refusePeer(dst netip.Addr) drop.Reason {
	if teredo.Mapped(dst) == c.mapped {
		return drop.Loop
	}
	return c.refuseTeredo(dst)
}

// refuseTeredo checks the two IPv4 addresses in a Teredo address that we would send to on its behalf (C-TX-08, R-TX-02).
func (l *list) refuseTeredo(dst netip.Addr) drop.Reason {
	m := teredo.Mapped(dst)
	if m.Port() == 0 || !l.cfg.Filter.Global(m.Addr()) || !l.cfg.Filter.Global(teredo.ServerOf(dst)) {
		return drop.NotGlobal
	}
	return drop.None
}

// native reports whether packets may go to an address outside the Teredo service.
func (l *list) native(k key) bool { return l.cfg.Filter.Native(k.addr()) }

// Refresh tries the path to a peer anew while it is still in use. It is asked for by Table.Outgoing.
func (c *Client) Refresh(t time.Time, dst netip.Addr, out *Output) {
	now := c.table.Stamp(t)
	p := c.table.lookup(keyOf(dst))
	if p == nil || !p.valid(now) || p.justHeard(now) || !c.own.IsValid() {
		return
	}
	if !p.search().waiting() {
		p.want(now)
		c.try(p, now, out)
	}
}

// Tick repeats what went unanswered and forgets what is old.
func (c *Client) Tick(t time.Time, out *Output) {
	now := c.table.Stamp(t)
	c.due(now, out, func(p *Peer) {
		if !c.own.IsValid() {
			c.fail(p, now, out)
			return
		}
		c.try(p, now, out)
	})
	c.sweep(now)
	c.announce(now, out)
	c.refreshPorts(now, out)
}

// try makes one attempt at a path: a connectivity test for native addresses (case 2) and for Teredo peers whose path is
// still valid, bubbles for the other Teredo peers (case 5).
func (c *Client) try(p *Peer, now Stamp, out *Output) {
	switch {
	case p.contested():
		c.settle(p, now, out)
	case !p.isTeredo():
		c.test(p, c.server, 0, now, out)
	case p.valid(now):
		c.test(p, p.endpoint(), p.via(), now, out)
	default:
		c.knock(p, now, out)
	}
}

// test sends an ICMPv6 Echo Request with the nonce of this test (RFC 4380 §5.2.9).
func (c *Client) test(p *Peer, to netip.AddrPort, from uint8, now Stamp, out *Output) {
	if !c.mayAnswer(p.key, p, p.addr(), now) {
		c.fail(p, now, out)
		return
	}
	s := p.setup
	if !s.testing {
		s.testing = true
		c.cfg.Rand(s.nonce[:])
	}
	s.sent++
	p.sent.Store(int64(now))
	p.unheard.Store(int64(tried))
	out.UDP.SendVia(from, to, teredo.AppendEchoRequest(out.UDP.Next(), c.own, p.addr(), c.table.testID, uint16(s.sent), s.nonce[:]))
	c.wait(p, now+retryAfter)
}

// knock sends a pair of bubbles as soon as the limits of RFC 4380 §5.2.6 allow it. A peer that has made itself known from
// a global address may still have a server that is none, to which no bubble is sent (C-TX-08).
func (c *Client) knock(p *Peer, now Stamp, out *Output) {
	s := p.setup
	if c.echoPending(p, now, out) || c.solicit(p, now, out) {
		return
	}
	local := c.isLocal(p, now) && s.sent < localTries
	at, ok := s.mayBubble(Stamp(p.sent.Load()), now)
	switch {
	case !ok || !local && c.refusePeer(p.addr()) != drop.None:
		c.fail(p, now, out)
	case at > now:
		c.wait(p, at)
	case local: // case 3
		s.sent++
		s.countBubble(now)
		c.knockLocally(p, now, out)
		c.wait(p, now+retryAfter)
	case !c.mayAnswer(p.key, p, teredo.Mapped(p.addr()).Addr(), now):
		c.fail(p, now, out)
	default: // case 5
		if s.sent >= transmissions/2 && c.sequential() {
			c.resetPort(p) // the prediction was wrong
		}
		s.sent++
		c.wait(p, now+retryAfter)
		c.bubbles(p, true, nil, now, out)
	}
}

// Inbound handles a well-formed UDP payload to the service port that is not a router advertisement and that Table.Incoming
// did not take (RFC 4380 §5.2.3).
func (c *Client) Inbound(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	c.InboundVia(t, from, 0, pkt, out)
}

// InboundVia is Inbound for any local port, and takes the router advertisements that come to random ports, too.
func (c *Client) InboundVia(t time.Time, from netip.AddrPort, via uint8, pkt *teredo.Packet, out *Output) {
	now := c.table.Stamp(t)
	if via != 0 && teredo.IsICMPv6Type(pkt.IPv6, teredo.ICMPv6RouterAdvertisement) {
		c.echoed(now, from, via, pkt, out)
		return
	}
	if why := c.inbound(now, from, via, pkt, out); why != drop.None {
		c.cfg.Drops.Count(why)
	}
}

func (c *Client) inbound(now Stamp, from netip.AddrPort, via uint8, pkt *teredo.Packet, out *Output) drop.Reason {
	src := keyAt(pkt.IPv6[8:])
	switch {
	case !c.own.IsValid():
		return drop.NotQualified
	case keyAt(pkt.IPv6[24:]) != keyOf(c.own):
		return drop.Destination
	case demandsDrop(pkt.Trailers):
		return drop.Trailers
	case via != 0 && !c.ownsPort(c.table.lookup(src), via):
		return drop.UnknownPeer
	case from == c.server:
		return c.fromServer(now, src, pkt, out)
	case from == c.mapped:
		return drop.Loop
	}
	p := c.table.lookup(src)
	bubble, proven := src.isTeredo() && teredo.IsBubble(pkt.IPv6), false
	var said trailers
	if bubble {
		said = parseTrailers(pkt.Trailers)
		proven = c.proves(p, from, via, &said, now)
	}
	if from.Port() == 0 || !c.cfg.Filter.Global(from.Addr()) && !proven && !p.isAlternate(from) && !c.knows(p, from, via, now) {
		return drop.NotGlobal
	}
	if bubble {
		return c.directBubble(now, src, from, via, proven, &said, out)
	}
	return c.direct(now, src, from, via, pkt.IPv6, out)
}

// knows reports whether from is the path of a peer, or where it said to be on our subnet. A path that has a non-global address
// was found by local discovery, at an alternate address, or by a bubble with the nonce of our last indirect one, which proves
// any source, also without the hairpinning extension. It stays when the peer ceases to announce itself.
func (c *Client) knows(p *Peer, from netip.AddrPort, via uint8, now Stamp) bool {
	return p != nil && (p.isAt(from, via) || c.isLocalAt(p, from, now))
}

// direct is the decision list for packets that are no bubbles of clients and did not come from the server (RFC 4380 §5.2.3
// cases 1 to 6).
func (c *Client) direct(now Stamp, src key, from netip.AddrPort, via uint8, packet []byte, out *Output) drop.Reason {
	p := c.table.lookup(src)
	if p != nil && c.passesTest(p, from, via, packet) { // case 2, C-RX-11 and C-RX-17
		c.learn(p, from, via, !p.provisional(), now, out)
		return drop.None
	}
	data := !teredo.IsBubble(packet) && !c.table.isTestReply(packet) // late and repeated test replies end here too
	switch {
	case p != nil && p.isAt(from, via): // case 1, C-RX-10
	case src.isTeredo() && teredo.Mapped(src.addr()) == from: // case 3, C-RX-12
		if p == nil {
			p = c.admit(src, now)
		}
		if p == nil { // taken all the same: only the path is not remembered
			if data {
				out.deliver(packet)
			}
			return drop.None
		}
	case c.isLocalAt(p, from, now): // case 5, C-RX-14
	case data && p.isSecond(from, via) && p.valid(now):
		c.accept(p, packet, out)
		return drop.None
	case data && p.isSecond(from, via): // better than a path that is none any more
	case data && c.native(src): // case 6, C-RX-15
		return c.holdForTest(now, src, from, packet, out)
	case data && src.isTeredo() && (c.cfg.Extensions.SymmetricNAT || p.isAlternate(from)) && c.refusePeer(src.addr()) == drop.None:
		return c.holdForTest(now, src, from, packet, out) // the nonce in bubbles is its test (RFC 6081 §5.2)
	default:
		return drop.UnknownPeer
	}
	switch {
	case p.mayLearn(from, via, false, now):
		c.learn(p, from, via, false, now, out)
	case !data:
		return drop.UnknownPeer
	}
	if data {
		c.accept(p, packet, out)
	}
	return drop.None
}

// learn makes from, seen at the local port via, the path of the peer, except that an asymmetric one is sent to where its
// address says. Once the service port serves, a random port is not needed. Proven says that a nonce of ours has come back by it. A
// path in a contest needs that to win at once.
func (c *Client) learn(p *Peer, from netip.AddrPort, via uint8, proven bool, now Stamp, out *Output) {
	if !proven && p.contested() && p.isAt(from, via) {
		p.received.Store(int64(now))
		return
	}
	if x := p.ext; x != nil {
		x.receivedPrimary, x.receivedRandom = via == 0, via != 0
		x.echo = echoTest{} // X-SEQ-07
		if via == 0 {
			c.closePort(p)
		}
	}
	first := !p.valid(now)
	to := from
	if c.asymmetric(p, from, now) {
		to = teredo.Mapped(p.addr())
	}
	c.trust(p, to, from, via, now, out)
	switch {
	case proven && p.isTeredo():
		p.extend().proven = pathWord(from, via)
	case first && p.provisional():
		c.askForProof(p, now, out)
	}
}

// passesTest reports whether a packet is the Echo Reply to the running test of the peer. A native peer's relay is
// wherever the reply comes from; a Teredo peer must answer from its known endpoint.
func (c *Client) passesTest(p *Peer, from netip.AddrPort, via uint8, packet []byte) bool {
	if p.setup == nil || !p.setup.testing || p.isTeredo() && !p.isAt(from, via) {
		return false
	}
	e, err := teredo.ParseEcho(packet)
	return err == nil && e.Type == teredo.ICMPv6EchoReply && e.ID == c.table.testID && string(e.Data) == string(p.setup.nonce[:])
}

// holdForTest keeps a packet of an unproven native source until the connectivity test of that source tells.
func (c *Client) holdForTest(now Stamp, src key, from netip.AddrPort, packet []byte, out *Output) drop.Reason {
	p := c.admit(src, now)
	if p == nil {
		return drop.TableFull
	}
	if c.hold(p, held{packet: packet, from: from}) && !p.setup.waiting() {
		c.try(p, now, out)
	}
	return drop.None
}

// fromServer handles what came from server:3544: bubbles, ICMPv6 of native hosts that the server has passed on, and packets
// of those that it relays.
func (c *Client) fromServer(now Stamp, src key, pkt *teredo.Packet, out *Output) drop.Reason {
	bubble := teredo.IsBubble(pkt.IPv6)
	switch {
	case bubble && src.isTeredo():
		return c.indirectBubble(now, src, pkt.Trailers, out)
	case !bubble && c.native(src) && !pkt.Origin.IsValid():
		return c.fromServersRelay(now, src, pkt.IPv6, out)
	case !pkt.Origin.IsValid() || !c.cfg.Filter.Global(pkt.Origin.Addr()) || pkt.Origin.Port() == 0:
		return drop.NotGlobal
	case pkt.Origin == c.mapped:
		return drop.Loop
	case bubble:
		// C-RX-05: a relay, which may be the server itself, or a Miredo client wants to hear from us directly; the source
		// authenticates the answer.
		if origin := pkt.Origin.Addr(); !c.budgets.mayCause(answers, networkOf(origin), origin, now) {
			return drop.Budget
		}
		out.UDP.Send(pkt.Origin, teredo.AppendBubble(out.UDP.Next(), c.own, src.addr(), BubbleHopLimit))
		return drop.None
	case c.native(src) && teredo.NextHeader(pkt.IPv6) == nextHeaderICMPv6:
		return c.holdForTest(now, src, pkt.Origin, pkt.IPv6, out) // C-RX-04
	}
	return drop.NotAllowed
}

// fromServersRelay handles what a server that is a relay, too, sends from its own port 3544 (RFC 4380 §5.4.3, A-43). A
// connectivity test proves such a path like any other. Until then nothing is taken, nor held: everybody can read the server's
// endpoint in our address, and no NAT keeps it out. A packet without the path causes one test at most, which lets the next
// ones in.
func (c *Client) fromServersRelay(now Stamp, src key, packet []byte, out *Output) drop.Reason {
	p := c.table.lookup(src)
	if p != nil && (p.isAt(c.server, 0) || c.passesTest(p, c.server, 0, packet)) {
		return c.direct(now, src, c.server, 0, packet, out)
	}
	if !c.table.isTestReply(packet) {
		if p = c.admit(src, now); p != nil && !p.search().waiting() {
			c.try(p, now, out)
		}
	}
	return drop.UnknownPeer
}

// demandsDrop reports whether a trailer of an unknown type says that the packet must be discarded (X-TRL-02).
func demandsDrop(trailers []byte) bool {
	for {
		t, rest, ok := teredo.NextTrailer(trailers)
		if !ok {
			return false
		}
		if t.Discard() {
			return true
		}
		trailers = rest
	}
}
