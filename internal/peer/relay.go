package peer

import (
	"crypto/sha256"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Relay is the machine of a relay's path rules: transmission to clients (RFC 4380 §5.4.1) and reception from them
// (§5.4.2). One goroutine owns it.
type Relay struct {
	list
	secret    [32]byte // of the source addresses of bubbles
	behindNAT bool
}

// NewRelay makes a relay that knows no client. Its ICMPv6 errors come from errorSource, a global IPv6 address, or are not
// sent when that is zero.
func NewRelay(now time.Time, errorSource netip.Addr, cfg Config) *Relay {
	r := &Relay{list: newList(now, cfg, true)}
	r.errorSource = errorSource
	r.cfg.Rand(r.secret[:])
	r.table.natives = cfg.Natives
	for _, n := range cfg.Natives {
		r.budgets.own = append(r.budgets.own, n.Server())
	}
	r.Serve(nil, nil)
	return r
}

// SetBehindNAT says whether the relay is behind a NAT itself, which a direct bubble to each client has to open (R-TX-07).
func (r *Relay) SetBehindNAT(on bool) { r.behindNAT = on }

// source is the link-local address that bubbles to a client come from. A client answers to it, so an answer to it shows that
// the bubble has reached the client through its server. Nobody else can tell the address.
func (r *Relay) source(client key) netip.Addr {
	b := append(r.secret[:len(r.secret):len(r.secret)], client.bytes()...)
	sum := sha256.Sum256(b)
	address := [16]byte{0xfe, 0x80}
	copy(address[8:], sum[:8])
	return netip.AddrFrom16(address)
}

// Serve says which native IPv6 addresses the relay serves (R-RX-04, R-DOS-01): those in the prefixes, special-use ranges too.
// Nil stands for every one that is global, but for own, the addresses of the relay's host, as it is at first; with no prefix
// nobody is served. A host-specific relay has the addresses of its host as prefixes (H-02).
func (r *Relay) Serve(prefixes []netip.Prefix, own []netip.Addr) {
	r.table.served.Store(newServed(prefixes, own, r.table.natives))
}

// SetErrorSource changes where ICMPv6 errors come from; the zero Addr means that none are sent.
func (r *Relay) SetErrorSource(a netip.Addr) { r.errorSource = a }

// Outbound handles an IPv6 packet from the native side that Table.Outgoing had no path for (RFC 4380 §5.4.1).
func (r *Relay) Outbound(t time.Time, packet []byte, out *Output) {
	now := r.table.Stamp(t)
	if teredo.CheckIPv6(packet) == nil && r.table.served.Load().isClients(keyAt(packet[8:])) && r.fromNative(packet, now, out) {
		return
	}
	if why := r.refuse(packet); why != drop.None {
		r.cfg.Drops.Count(why)
		return
	}
	r.carry(packet, now, out)
}

// carry sends a packet to a client (RFC 4380 §5.4.1).
func (r *Relay) carry(packet []byte, now Stamp, out *Output) {
	dst := keyAt(packet[24:])
	if why := r.refuseTeredo(dst.addr()); why != drop.None {
		r.cfg.Drops.Count(why)
		if _, native := r.table.natives.Native(dst.addr()); native {
			r.unreachable(packet, now, out) // the operator's prefix ends here
		}
		return
	}
	p := r.table.lookup(dst)
	if p != nil && p.valid(now) {
		r.transmit(p, packet, now, out)
		return
	}
	cause := r.account(keyAt(packet[8:]))
	if p = r.want(dst, cause, now); p == nil {
		r.cfg.Drops.Count(drop.Budget)
		return
	}
	r.hold(p, held{packet: packet}) // without room for the packet, the path is still wanted for the next ones
	r.begin(p, cause, now, out)
}

// Seek looks for the path to a client that a native host, asker, wants to send packets to. It sends one bubble, which is not
// repeated unless the host asks again. It reports whether a search is under way: the budgets may forbid it, or the client has not
// answered before.
func (r *Relay) Seek(t time.Time, client, asker netip.Addr, out *Output) bool {
	now, dst, cause := r.table.Stamp(t), keyOf(client), r.account(keyOf(asker))
	if r.refuseTeredo(client) != drop.None {
		return false
	}
	p := r.want(dst, cause, now)
	if p == nil {
		return false
	}
	p.search()
	r.begin(p, cause, now, out)
	return p.searching()
}

// want returns the entry of a client that the native side wants to reach, making one if there is none; nil if the budgets do not allow
// to look for the client.
func (r *Relay) want(dst key, cause uint64, now Stamp) *Peer {
	p := r.table.lookup(dst)
	if !p.searching() && !p.exhausted(now) && !r.budgets.mayCause(natives, cause, dst.server(), now) {
		return nil
	}
	p = r.add(dst, now)
	p.path.Or(pathSought)
	return p
}

// begin begins the search for the path to a client, unless it is under way.
func (r *Relay) begin(p *Peer, cause uint64, now Stamp, out *Output) {
	p.setup.stranger = false
	if !p.setup.waiting() {
		p.setup.cause = cause
		r.knock(p, now, out)
	}
}

// refuse says why a packet from the native side is not carried, if it is not.
func (r *Relay) refuse(packet []byte) drop.Reason {
	if teredo.CheckIPv6(packet) != nil {
		return drop.NotIPv6
	}
	src, dst := keyAt(packet[8:]), keyAt(packet[24:])
	switch {
	case !dst.isTeredo() && !r.native(dst):
		return drop.Scope
	case !dst.isTeredo():
		return drop.Destination // R-TX-01
	case !r.table.served.Load().takesFrom(src):
		return drop.Source
	}
	return drop.None
}

// Refresh tries the path to a client anew while it is still in use. It is asked for by Table.Outgoing.
func (r *Relay) Refresh(t time.Time, dst netip.Addr, out *Output) {
	now := r.table.Stamp(t)
	p := r.table.lookup(keyOf(dst))
	if p == nil || !p.valid(now) || p.justHeard(now) {
		return
	}
	if !p.search().waiting() {
		r.knock(p, now, out)
	}
}

// Tick repeats what went unanswered and forgets what is old.
func (r *Relay) Tick(t time.Time, out *Output) {
	now := r.table.Stamp(t)
	r.due(now, out, func(p *Peer) {
		if p.setup.stranger {
			r.fail(p, now, out) // one bubble for one packet: the next packet is another chance
			return
		}
		if !p.valid(now) && !r.budgets.mayRepeat(natives, p.server(), now) {
			p.setup.sent++ // what is left of the search waits for an answer to the bubbles before
			r.wait(p, now+retryAfter)
			return
		}
		r.knock(p, now, out)
	})
	r.sweep(now)
}

// knock sends a bubble through the client's server, which the client answers directly (RFC 4380 §5.4.1 case 3). The 2 s
// between bubbles count from the last bubble: the flow that a refresh is for must not delay it.
func (r *Relay) knock(p *Peer, now Stamp, out *Output) {
	s := p.setup
	last := now - retryAfter
	if s.nbubbles > 0 {
		last = s.bubbles[s.nbubbles-1]
	}
	at, ok := s.mayBubble(last, now)
	switch {
	case !ok || p.valid(now) && s.sent >= transmissions/2:
		r.fail(p, now, out) // a refresh leaves half of the bubbles for the search that follows it
	case at > now:
		r.wait(p, at)
	default:
		s.sent++
		s.countBubble(now)
		p.sent.Store(int64(now))
		src, dst := r.source(p.key), p.addr()
		via := netip.AddrPortFrom(p.server(), teredo.Port)
		out.UDP.Send(via, teredo.AppendBubble(out.UDP.Next(), src, dst, BubbleHopLimit))
		if r.behindNAT && !s.stranger { // for what strangers have sent the NAT is open already
			out.UDP.Send(teredo.Mapped(dst), teredo.AppendBubble(out.UDP.Next(), src, dst, BubbleHopLimit))
		}
		r.wait(p, now+retryAfter)
	}
}

// Inbound handles a well-formed UDP payload that Table.Incoming did not take (RFC 4380 §5.4.2).
func (r *Relay) Inbound(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	now := r.table.Stamp(t)
	if why := r.inbound(now, from, pkt, out); why != drop.None {
		r.cfg.Drops.Count(why)
	}
}

func (r *Relay) inbound(now Stamp, from netip.AddrPort, pkt *teredo.Packet, out *Output) drop.Reason {
	src := keyAt(pkt.IPv6[8:])
	switch {
	case pkt.HasAuth || pkt.Origin.IsValid():
		return drop.Malformed // R-RX-01: clients send plain IPv6 packets
	case demandsDrop(pkt.Trailers):
		return drop.Trailers
	case !src.isTeredo() || from.Port() == 0:
		return drop.Source
	}
	p := r.table.lookup(src)
	known := p != nil && !p.isStranger() && (teredo.Mapped(src.addr()) == from || p.isAt(from, 0))
	answer := p != nil && (!known || p.owes()) && r.isAnswer(p, from, pkt.IPv6)
	if !known && !answer {
		if teredo.Mapped(src.addr()) != from {
			return drop.Source // R-RX-02
		}
		return r.greet(p, src, from, pkt.IPv6, now, out)
	}
	if p.owes() {
		r.settle(p, answer)
	}
	if p.isStranger() {
		p.setup.stranger = false
	}
	r.trust(p, from, from, 0, now, out)
	if teredo.IsBubble(pkt.IPv6) {
		return drop.None
	}
	if !r.table.mayDeliver(keyAt(pkt.IPv6[24:])) {
		return drop.Destination // R-RX-04
	}
	r.accept(p, pkt.IPv6, out)
	return drop.None
}

// greet asks a stranger for a proof: a client that the relay has sent nothing to, but which knows it from before a restart, or
// before it was forgotten. The packet waits for the answer to a bubble that goes through the client's server. So whoever makes
// up a source gets nothing delivered, and no more than one bubble of the least size sent for a packet, four in 300 s to one
// client (C-BUB-04).
func (r *Relay) greet(p *Peer, src key, from netip.AddrPort, packet []byte, now Stamp, out *Output) drop.Reason {
	switch {
	case teredo.IsBubble(packet):
		return drop.UnknownPeer // R-RX-03
	case !r.table.mayDeliver(keyAt(packet[24:])):
		return drop.Destination // R-RX-04
	case r.refuseTeredo(src.addr()) != drop.None:
		return drop.NotGlobal
	case p != nil && p.search().waiting(): // asked already
		r.hold(p, held{packet: packet, from: from})
		return drop.None
	case p.exhausted(now):
		return drop.UnknownPeer
	case !r.budgets.mayCause(returners, src.network(), src.server(), now):
		return drop.Budget
	case p == nil:
		if p = r.admit(src, now); p == nil {
			return drop.TableFull
		}
		p.search().stranger = true
	}
	p.search().cause = src.network()
	r.hold(p, held{packet: packet, from: from}) // without room for the packet, the path is still wanted for the next ones
	r.knock(p, now, out)
	return drop.None
}

// owes reports whether the first bubble of a search is on somebody's account.
func (p *Peer) owes() bool { return p.setup != nil && p.setup.cause != 0 }

// settle gives the first bubble of a search back to those on whose account it was, if the client has answered it. Any other packet
// of the client ends the search as well, but may be made up.
func (r *Relay) settle(p *Peer, answered bool) {
	kind := natives
	if p.setup.stranger {
		kind = returners
	}
	if answered {
		r.budgets.giveBack(kind, p.setup.cause, p.server())
	}
	p.setup.cause = 0
}

// isAnswer reports whether a packet is a client's answer to a bubble of ours: it goes to the address that only the client can
// know. It may come from another port than the client's address says, from behind a symmetric NAT. The IPv4 address must
// be the same, so that no client can have its traffic sent to somebody else.
func (r *Relay) isAnswer(p *Peer, from netip.AddrPort, packet []byte) bool {
	return teredo.IsBubble(packet) && teredo.Mapped(p.addr()).Addr() == from.Addr() && teredo.Destination(packet) == r.source(p.key)
}
