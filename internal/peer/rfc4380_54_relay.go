package peer

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Relay is the machine of a relay's rules for paths (RFC 4380 §5.4): transmission to clients (§5.4.1) and reception from them
// (§5.4.2). One goroutine owns it.
type Relay struct {
	list
	secret    [32]byte // of the source addresses of bubbles
	behindNAT bool
}

// NewRelay makes a relay that knows no client. Its ICMPv6 errors come from errorSource, a global IPv6 address, or are not
// sent when that is zero.
func NewRelay(now time.Time, errorSource netip.Addr, cfg Config) *Relay {
	r := &Relay{list: newList(now, cfg, true, relayBudgets())}
	r.errorSource = errorSource
	r.explain = func(_ Cause, client netip.Addr) string {
		return fmt.Sprintf("%v has not answered the bubbles that went through its server %v.", client, keyOf(client).server().addr())
	}
	r.random(r.secret[:])
	r.table.natives = cfg.Natives
	for _, n := range cfg.Natives {
		r.budgets.own = append(r.budgets.own, n.Server())
	}
	r.Serve(nil, nil)
	return r
}

// SetBehindNAT says whether the relay is behind a NAT itself, which a direct bubble to each client has to open (R-TX-07).
func (r *Relay) SetBehindNAT(on bool) { r.behindNAT = on }

// Serve says which native IPv6 addresses the relay serves (R-RX-04, R-DOS-01): those in the prefixes, special-use ranges too.
// Nil stands for every one that is global, but for own, the addresses of the relay's host, as it is at first; with no prefix
// nobody is served. A host-specific relay has the addresses of its host as prefixes (H-02).
func (r *Relay) Serve(prefixes []netip.Prefix, own []netip.Addr) {
	r.table.served.Store(newServed(prefixes, own, r.table.natives))
}

// SetErrorSource changes where ICMPv6 errors come from; the zero Addr means that none are sent.
func (r *Relay) SetErrorSource(a netip.Addr) { r.errorSource = a }

// Refused tells how often the budget for bubbles that native hosts cause had nothing left, and how many clients in use had to make room
// for others. Of the other budgets, each bounds one host or address, or what clients cause, who are not fewer when native hosts take
// another relay.
func (r *Relay) Refused() (budget, displaced uint64) {
	return r.budgets.exhausted[natives], r.displaced
}

// Outbound handles an IPv6 packet from the native side that Table.Outgoing had no path for (RFC 4380 §5.4.1).
func (r *Relay) Outbound(t time.Time, packet []byte, out *Output) {
	r.count(r.outbound(packet, r.table.Stamp(t), out))
}

func (r *Relay) outbound(packet []byte, now Stamp, out *Output) drop.Reason {
	if teredo.CheckIPv6(packet) == nil && r.table.served.Load().isClients(sourceOf(packet)) {
		if why, done := r.fromNative(packet, now, out); done {
			return why
		}
	}
	if why := r.refusePacket(packet); why != drop.None {
		return why
	}
	switch src, dst := sourceOf(packet), destinationOf(packet); {
	case !dst.isTeredo():
		return drop.Destination // R-TX-01
	case !r.table.served.Load().has(src, outgoing): // fromNative has seen to those of clients
		return drop.Source
	}
	return r.carry(packet, now, out)
}

// carry sends a packet to a client (RFC 4380 §5.4.1).
func (r *Relay) carry(packet []byte, now Stamp, out *Output) drop.Reason {
	dst := destinationOf(packet)
	if why := r.refuseTeredo(dst); why != drop.None {
		if _, native := r.table.natives.Native(dst.addr()); native {
			r.unreachable(packet, now, out) // the operator's prefix ends here
		}
		return why
	}
	p := r.table.lookup(dst)
	if p.valid(now) { // case 1
		r.transmit(p, packet, now, out)
		return drop.None
	}
	cause := r.account(sourceOf(packet))
	if !r.maySeek(p, dst, cause, now) {
		return drop.Budget
	}
	p, why := r.seek(p, dst, packet, now)
	r.begin(p, cause, now, out)
	return why
}

// Seek looks for the path to a client that a native host, asker, wants to send packets to. It sends one bubble, which is not
// repeated unless the host asks again. It reports whether a search is under way: the budgets may forbid it, or the client has not
// answered before.
func (r *Relay) Seek(t time.Time, client, asker netip.Addr, out *Output) bool {
	now, dst, cause := r.table.Stamp(t), keyOf(client), r.account(keyOf(asker))
	p := r.table.lookup(dst)
	if r.refuseTeredo(dst) != drop.None || !r.maySeek(p, dst, cause, now) {
		return false
	}
	p = r.add(p, dst, now)
	p.path.Or(pathSought)
	p.ensureSearch()
	r.begin(p, cause, now, out)
	return p.searching()
}

// maySeek reports whether the native side, on whose account it is, may have a client looked for; p is the client's entry, if any.
func (r *Relay) maySeek(p *Peer, client key, cause uint64, now Stamp) bool {
	return p.searching() || p.exhausted(now) || r.budgets.mayCause(natives, cause, client.server().addr(), now)
}

// begin begins the search for the path to a client, unless it is under way.
func (r *Relay) begin(p *Peer, cause uint64, now Stamp, out *Output) {
	p.search.stranger = false
	if !p.search.isWaiting() {
		p.search.cause = cause
		r.try(p, now, out)
	}
}

// Refresh tries the path to a client anew while it is still in use. Table.Outgoing asks for it at a packet that has been sent.
func (r *Relay) Refresh(t time.Time, packet []byte, out *Output) {
	now := r.table.Stamp(t)
	if p := r.table.lookup(destinationOf(packet)); p.isRefreshable(now) {
		r.try(p, now, out)
	}
}

// Tick repeats what went unanswered and forgets what is old.
func (r *Relay) Tick(t time.Time, out *Output) {
	now := r.table.Stamp(t)
	r.due(now, func(p *Peer) { r.retry(p, now, out) })
	r.sweep(now)
}

// retry goes on with a search whose deadline has come, or ends it. For a stranger's packet one bubble is sent: the next packet is
// another chance.
func (r *Relay) retry(p *Peer, now Stamp, out *Output) {
	s := p.search
	switch {
	case s.needless(now):
		r.end(p)
	case s.spent(), s.stranger:
		r.fail(p, Silent, now, out)
	case !p.valid(now) && !r.budgets.mayRepeat(natives, p.server().addr(), now):
		s.sent++ // what is left of the search waits for an answer to the bubbles before
		r.wait(p, now+retryAfter)
	default:
		r.try(p, now, out)
	}
}

// try sends a bubble through the client's server, which the client answers directly (RFC 4380 §5.4.1 case 3). There is no case
// 2: the cone bit is ignored (RFC 5991 §3.2). The 2 s between bubbles count from the last bubble: the flow that a refresh is for
// must not delay it.
func (r *Relay) try(p *Peer, now Stamp, out *Output) {
	s := p.search
	last := now - retryAfter
	if b := &s.bubbles; b.n > 0 {
		last = b.at[b.n-1]
	}
	at, ok := s.nextBubble(last, now)
	switch {
	case !ok || p.valid(now) && s.sent >= transmissions/2:
		r.fail(p, Silent, now, out) // a refresh leaves half of the bubbles for the search that follows it
	case at > now:
		r.wait(p, at)
	default:
		s.sent++
		s.bubbles.add(now)
		p.sent.Store(now)
		r.sendBubble(p, p.server(), out)
		if r.behindNAT && !s.stranger { // for what strangers have sent the NAT is open already
			r.sendBubble(p, p.mapped(), out)
		}
		r.wait(p, now+retryAfter)
	}
}

func (r *Relay) sendBubble(p *Peer, to endpoint, out *Output) {
	out.send(pathTo(to, 0), teredo.AppendBubble(out.UDP.Next(), r.linkLocal(p.key), p.addr(), BubbleHopLimit))
}

// linkLocal is the address that bubbles to a client come from. A client answers to it, so an answer to it shows that the bubble
// has reached the client through its server. Nobody else can tell the address.
func (r *Relay) linkLocal(client key) netip.Addr {
	a := client.addr().As16()
	sum := sha256.Sum256(append(r.secret[:len(r.secret):len(r.secret)], a[:]...))
	address := [16]byte{0xfe, 0x80}
	copy(address[8:], sum[:8])
	return netip.AddrFrom16(address)
}

// Inbound handles a well-formed UDP payload that Table.Incoming did not take (RFC 4380 §5.4.2).
func (r *Relay) Inbound(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	r.count(r.inbound(endpointOf(from), pkt, r.table.Stamp(t), out))
}

func (r *Relay) inbound(from endpoint, pkt *teredo.Packet, now Stamp, out *Output) drop.Reason {
	src := sourceOf(pkt.IPv6)
	switch {
	case pkt.HasAuth || pkt.Origin.IsValid():
		return drop.Malformed // R-RX-01: clients send plain IPv6 packets
	case parseTrailers(pkt.Trailers).discard:
		return drop.Trailers
	case !src.isTeredo() || from.port() == 0:
		return drop.Source
	}
	p, at := r.table.lookup(src), pathTo(from, 0)
	known := p != nil && !p.isStranger() && (src.mapped() == from || p.isAt(at))
	answer := p != nil && (!known || p.isOnAccount()) && r.isAnswer(p, from, pkt.IPv6)
	if !known && !answer {
		if src.mapped() != from {
			return drop.Source // R-RX-02
		}
		return r.fromStranger(p, src, from, pkt.IPv6, now, out)
	}
	if p.search != nil {
		r.clearAccount(p, answer)
	}
	r.trust(p, at, at, 0, now, out)
	if teredo.IsBubble(pkt.IPv6) {
		return drop.None
	}
	if !r.table.relays(destinationOf(pkt.IPv6), incoming) {
		return drop.Destination // R-RX-04
	}
	r.accept(p, pkt.IPv6, out)
	return drop.None
}

// isStranger reports whether a relay knows of the client only by what somebody has sent in its name.
func (p *Peer) isStranger() bool { return p.search != nil && p.search.stranger }

// fromStranger handles a packet of a client that the relay has sent nothing to (RFC 4380 §5.4.2), but which may know it from before
// a restart, or before it was forgotten. The packet waits for the answer to a bubble that goes through the client's server. So
// whoever makes up a source gets nothing delivered, and no more than one bubble of the least size sent for a packet, four in 300 s
// to one client (C-BUB-04).
func (r *Relay) fromStranger(p *Peer, src key, from endpoint, packet []byte, now Stamp, out *Output) drop.Reason {
	switch {
	case teredo.IsBubble(packet):
		return drop.UnknownPeer // R-RX-03
	case !r.table.relays(destinationOf(packet), incoming):
		return drop.Destination // R-RX-04
	case r.refuseTeredo(src) != drop.None:
		return drop.NotGlobal
	case p.searching(): // asked already
		return r.hold(p, held{packet: packet, from: from})
	case p.exhausted(now):
		return drop.UnknownPeer
	case !r.budgets.mayCause(returners, src.network(), src.server().addr(), now):
		return drop.Budget
	case p == nil:
		if p = r.admit(nil, src, now); p == nil {
			return drop.TableFull
		}
		p.ensureSearch().stranger = true
	}
	p.ensureSearch().cause = src.network()
	why := r.hold(p, held{packet: packet, from: from}) // without room for the packet, the path is still wanted for the next ones
	r.try(p, now, out)
	return why
}

// isOnAccount reports whether budgets were charged for the first bubble of the search.
func (p *Peer) isOnAccount() bool { return p.search != nil && p.search.cause != 0 }

// clearAccount gives the first bubble of a search back to the budgets if the client has answered it. Any other packet of the client
// ends the search as well, but may be made up. The client is no stranger any more.
func (r *Relay) clearAccount(p *Peer, answered bool) {
	kind := natives
	if p.search.stranger {
		kind = returners
	}
	if answered && p.search.cause != 0 {
		r.budgets.giveBack(kind, p.search.cause, p.server().addr())
	}
	p.search.cause, p.search.stranger = 0, false
}

// isAnswer reports whether a packet is a client's answer to a bubble of ours: it goes to the address that only the client can
// know. It may come from another port than the client's address says, from behind a symmetric NAT. The IPv4 address must
// be the same, so that no client can have its traffic sent to somebody else.
func (r *Relay) isAnswer(p *Peer, from endpoint, packet []byte) bool {
	return teredo.IsBubble(packet) && p.mapped().addr() == from.addr() && teredo.Destination(packet) == r.linkLocal(p.key)
}

// served is which native IPv6 addresses a relay serves (RFC 4380 §5.4.2). It does not change once workers see it.
type served struct {
	only    []prefix // nil: every one, but for own
	own     []key    // addresses of the relay's host
	natives teredo.NativePrefixes
	filter  teredo.Filter
}

// prefix is an IPv6 prefix.
type prefix struct{ key, mask key }

func newServed(prefixes []netip.Prefix, own []netip.Addr, natives teredo.NativePrefixes) *served {
	s := &served{natives: natives, filter: teredo.Filter{Permit: slices.Clone(prefixes)}}
	if prefixes != nil {
		s.only = []prefix{}
	}
	for _, p := range prefixes {
		mask := maskOf(p.Bits())
		k := keyOf(p.Addr())
		s.only = append(s.only, prefix{key{k.hi & mask.hi, k.lo & mask.lo}, mask})
	}
	for _, a := range own {
		s.own = append(s.own, keyOf(a))
	}
	return s
}

// has reports whether the relay carries packets of a native address the way. To its own host they go only where that is named:
// what listens there is not meant for everybody who can reach the relay. From its own host they always go, as the ICMPv6 errors
// that it sends as a router are among them.
func (s *served) has(k key, way direction) bool {
	switch {
	case way == incoming && s.isClients(k):
		return true // it turns back
	case s.only == nil && (way == outgoing || !slices.Contains(s.own, k)):
	case s.named(k), way == outgoing && slices.Contains(s.own, k):
	default:
		return false
	}
	return s.filter.Native(k.addr())
}

func (s *served) named(k key) bool {
	for _, p := range s.only {
		if k.hi&p.mask.hi == p.key.hi && k.lo&p.mask.lo == p.key.lo {
			return true
		}
	}
	return false
}

// maskOf has the given number of leading ones. Shifts by 64 and more leave nothing.
func maskOf(bits int) key {
	return key{^uint64(0) << max(0, 64-bits), ^uint64(0) << (128 - max(bits, 64))}
}
