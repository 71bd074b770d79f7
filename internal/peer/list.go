package peer

import (
	crand "crypto/rand"
	"net/netip"
	"time"

	"golang.org/x/time/rate"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	forgetAfter     = bubbleWindow // an idle entry is kept as long as its bubbles count
	sweepEvery      = Stamp(10 * time.Second)
	tickMost        = 4096 // entries that one Tick looks at for each purpose, so that it never holds traffic up
	evictionSample  = 16   // established peers that one eviction looks at
	errorsPerSecond = 100  // most ICMPv6 errors, also as a burst
)

// MostClients is the greatest capacity of a relay that the program allows.
const MostClients = 1 << 20

// Config is what client and relay machines have in common.
type Config struct {
	Capacity int            // most entries in the list of recent peers, at least 2
	Filter   teredo.Filter  // which IPv4 addresses are global unicast
	Drops    *drop.Counters // counts what is dropped
	Rand     func([]byte)   // fills with random bytes; nil: crypto/rand

	// For relays: the native prefixes of clients.
	Natives teredo.NativePrefixes

	// For clients.
	Extensions Extensions
	Ports      Ports // needed for Extensions.PortPreserving and Sequential
}

// Output is what a machine wants done: datagrams for the UDP socket and IPv6 packets for the TUN device, each in order.
// The caller does it and calls Reset.
type Output struct {
	UDP teredo.Outbox
	TUN teredo.Outbox // Remote is not used
}

// Reset empties the output for reuse.
func (o *Output) Reset() {
	o.UDP.Reset()
	o.TUN.Reset()
}

// send sends a datagram to the endpoint of a path, from its local port.
func (o *Output) send(to path, payload []byte) {
	o.UDP.SendVia(to.via(), to.endpoint().addrPort(), payload)
}

func (o *Output) deliver(packet []byte) {
	o.TUN.Send(netip.AddrPort{}, append(o.TUN.Next(), packet...))
}

// entry is the part of a Peer that only the control goroutine sees.
type entry struct {
	older, newer *Peer    // neighbours in the chain
	noted        Stamp    // last use as known when the peer was put at the end of its chain
	wanted       uint32   // last time that our own side wanted a path to it, see isWanted
	part         part     // whose chain it is in
	since        moment   // when it was put into the list
	details      *details // of a client's Teredo peer; nil: there are none
	search       *search  // non-nil while a path is looked for, and as long as bubbles sent in vain count
}

// list is the list of recent peers with what is common to the rules of client and relay.
type list struct {
	table  *Table
	filter teredo.Filter
	drops  *drop.Counters
	random func([]byte)
	// A peer starts among the strangers if it has made itself known, among the sought if our side looks for it, and is
	// established when packets have gone both ways. Each chain has its own share of the capacity, so that a flood of new
	// peers never pushes out established ones, nor a flood of strangers the others (SEC-DOS-01).
	parts       [3]chain
	budgets     *budgets
	waiting     waiting
	heldInTotal int
	displaced   uint64 // peers with a valid path that had to make room
	nextSweep   Stamp
	forget      func(*Peer)                    // gives up what a machine keeps elsewhere for a peer that is removed
	explain     func(Cause, netip.Addr) string // says in a sentence what a cause means for the path to a peer
	errorSource netip.Addr                     // IPv6 source of ICMPv6 errors to the local stack; zero: none are sent
	errors      *rate.Limiter                  // RFC 4443 §2.4(f)
}

func newList(now time.Time, cfg Config, relay bool, b *budgets) list {
	random := cfg.Rand
	if random == nil {
		random = func(b []byte) { crand.Read(b) }
	}
	capacity := max(cfg.Capacity, 2)
	quarter := max(capacity/4, 1)
	return list{
		table: newTable(now, capacity, relay, random), filter: cfg.Filter, drops: cfg.Drops, random: random,
		parts: [...]chain{
			established: {part: established, most: capacity - quarter},
			sought:      {part: sought, most: quarter}, // with the strangers
			strangers:   {part: strangers, most: max(quarter/2, 1)},
		},
		budgets: b,
		forget:  func(*Peer) {},
		errors:  rate.NewLimiter(errorsPerSecond, errorsPerSecond),
	}
}

// count counts a packet that was dropped, if it was.
func (l *list) count(why drop.Reason) {
	if why != drop.None {
		l.drops.Count(why)
	}
}

// SetFilter changes which IPv4 addresses are global unicast.
func (l *list) SetFilter(f teredo.Filter) { l.filter = f }

// Table is where the packet workers look peers up.
func (l *list) Table() *Table { return l.table }

// Len is the number of entries in the list.
func (l *list) Len() (n int) {
	for i := range l.parts {
		n += l.parts[i].n
	}
	return n
}

// Reached is when the last packet came on any path; the zero Time if none ever has. It looks at every entry.
func (l *list) Reached() time.Time {
	var last Stamp
	for i := range l.parts {
		c := &l.parts[i]
		for p := c.newest; p != nil; p = p.older {
			if p.trusted() {
				last = max(last, p.received.Load())
			}
		}
	}
	if last == 0 {
		return time.Time{}
	}
	return l.table.time(last)
}

// Deadline is when Tick wants to be called next, if no packet comes before.
func (l *list) Deadline() (time.Time, bool) {
	if l.Len() == 0 {
		return time.Time{}, false
	}
	next := l.nextSweep
	if len(l.waiting) > 0 {
		next = min(next, l.waiting[0].deadline)
	}
	return l.table.time(next), true
}

// add returns the entry of an address that our side looks for: p, or a new one when that is nil (RFC 4380 §5.2.3, §5.2.6). It may
// take the place of a stranger, or of the oldest that our side has looked for.
func (l *list) add(p *Peer, k key, now Stamp) *Peer {
	switch {
	case p == nil:
		p = l.insert(k, now)
	case p.part == strangers:
		l.parts[p.part].unlink(p)
	default:
		return p
	}
	s, own := &l.parts[strangers], &l.parts[sought]
	for own.n+s.n >= own.most {
		c := own
		if own.n == 0 || s.n > s.most/2 {
			c = s
		}
		if !l.makeRoom(c, now) {
			l.displace(c.oldest, now)
		}
	}
	own.push(p, now)
	return p
}

// admit returns the entry of an address that has made itself known: p, or, when that is nil, a new one. It returns nil when there
// is no room without pushing out a peer that lives, or when the IPv4 address, or native /64, has had its share of new entries.
func (l *list) admit(p *Peer, k key, now Stamp) *Peer {
	if p != nil {
		return p
	}
	s, own := &l.parts[strangers], &l.parts[sought]
	if !l.budgets.mayEnter(k, now) || s.n >= s.most && !l.makeRoom(s, now) ||
		own.n+s.n >= own.most && !l.makeRoom(own, now) && !l.makeRoom(s, now) {
		return nil
	}
	p = l.insert(k, now)
	s.push(p, now)
	return p
}

// insert puts a new peer into the table.
func (l *list) insert(k key, now Stamp) *Peer {
	if l.Len() == 0 {
		l.nextSweep = now + sweepEvery
	}
	p := &Peer{key: k}
	p.since = momentOf(now)
	p.received.Store(now - validity) // K-12
	p.sent.Store(now - validity)
	l.table.insert(p)
	return p
}

// makeRoom takes a peer out of a chain of new ones. One with traffic in both directions moves to the established peers; one that
// does not live is removed. It reports whether there was such a peer among the oldest.
func (l *list) makeRoom(c *chain, now Stamp) bool {
	for range min(evictionSample, c.n) {
		p := c.oldest
		switch {
		case p.bidirectional():
			for l.parts[established].n >= l.parts[established].most {
				l.evictEstablished(now)
			}
			l.establish(p)
			return true
		case !l.lives(p, now):
			l.remove(p, drop.TableFull)
			return true
		}
		c.unlink(p)
		c.push(p, p.lastUse())
	}
	return false
}

// establish moves a new peer to the established ones.
func (l *list) establish(p *Peer) {
	l.parts[p.part].unlink(p)
	l.parts[established].push(p, p.lastUse())
}

// lives reports whether a new peer is being looked for or in use. A stranger has some time to show that it sends more than one packet.
func (l *list) lives(p *Peer, now Stamp) bool {
	return p.searching() || p.valid(now) &&
		(p.part == sought || p.receivedPackets.Load() > 1 || now-p.received.Load() < retryAfter)
}

// evictEstablished removes one of the least recently used established peers. Workers do not reorder the chain: the
// first peer at its old end that was not used since it was put in goes. Those that were used move to the other end; when
// all of a sample were, the least recently used of the sample goes.
func (l *list) evictEstablished(now Stamp) {
	c := &l.parts[established]
	victim := c.oldest
	for range min(evictionSample, c.n) {
		p := c.oldest
		if !c.renew(p) {
			victim = p
			break
		}
		if p.noted < victim.noted {
			victim = p
		}
	}
	l.displace(victim, now)
}

// displace removes a peer for want of room.
func (l *list) displace(p *Peer, now Stamp) {
	if p.valid(now) {
		l.displaced++
	}
	l.remove(p, drop.TableFull)
}

// remove forgets a peer; why is the reason that packets held for it are dropped.
func (l *list) remove(p *Peer, why drop.Reason) {
	l.discard(p, why)
	l.forget(p)
	l.parts[p.part].unlink(p)
	l.table.unlink(p)
}

// clear forgets every peer, as the mapping that their paths led through has gone.
func (l *list) clear() {
	for i := range l.parts {
		c := &l.parts[i]
		for c.oldest != nil {
			l.remove(c.oldest, drop.NoPath)
		}
	}
}

// sweep forgets peers that were not used for a long time, a bounded number at once.
func (l *list) sweep(now Stamp) {
	if now < l.nextSweep {
		return
	}
	l.nextSweep = now + sweepEvery
	for i := range l.parts {
		c := &l.parts[i]
		for range tickMost {
			p := c.oldest
			if p == nil || now-p.noted < forgetAfter {
				break
			}
			if !c.renew(p) {
				l.remove(p, drop.NoPath)
			}
		}
	}
}

// transmit sends a packet on the peer's path.
func (l *list) transmit(p *Peer, packet []byte, now Stamp, out *Output) {
	p.sent.Store(now)
	p.sentPackets.Add(1)
	p.sentBytes.Add(uint64(len(packet)))
	out.send(p.path.Load(), append(out.UDP.Next(), packet...))
}

// accept hands a packet of the peer to the local stack.
func (l *list) accept(p *Peer, packet []byte, out *Output) {
	p.heard(Traffic{1, uint64(len(packet))})
	out.deliver(packet)
}

// refusePacket is the reason why a packet of the local side can be sent to no peer.
func (l *list) refusePacket(packet []byte) drop.Reason {
	if teredo.CheckIPv6(packet) != nil {
		return drop.NotIPv6
	}
	if dst := destinationOf(packet); !dst.isTeredo() && !l.native(dst) {
		return drop.Scope
	}
	return drop.None
}

// refuseTeredo checks the two IPv4 addresses in a Teredo address, to which we would send (RFC 4380 §5.2.4, C-TX-08, R-TX-02).
func (l *list) refuseTeredo(k key) drop.Reason {
	m := k.mapped()
	if m.port() == 0 || !l.filter.Global(m.addr()) || !l.filter.Global(k.server().addr()) {
		return drop.NotGlobal
	}
	return drop.None
}

// native reports whether packets may go to an address outside the Teredo service.
func (l *list) native(k key) bool { return l.filter.Native(k.addr()) }

// isRefreshable reports whether the path is valid, and old enough for Table.Outgoing to ask for a refresh, which does not run yet.
func (p *Peer) isRefreshable(now Stamp) bool {
	return p.valid(now) && !p.recent(now) && !p.ensureSearch().isWaiting()
}

// unreachable tells the sender of a packet that there is no way to its destination, within the rate limit
// (RFC 4443 §3.1 code 3).
func (l *list) unreachable(packet []byte, now Stamp, out *Output) {
	if !l.errorSource.IsValid() || l.table.isPing(packet) || !l.errors.AllowN(l.table.time(now), 1) {
		return
	}
	if e := teredo.AppendUnreachable(out.TUN.Next(), l.errorSource, teredo.UnreachableAddress, packet); len(e) > 0 {
		out.TUN.Send(netip.AddrPort{}, e)
	}
}

// part says which part of the list a peer is in.
type part uint8

const (
	established part = iota // packets have gone both ways
	sought                  // our side looks for it
	strangers               // it has made itself known
)

// chain is a list of the peers of a part, the one put in longest ago first.
type chain struct {
	oldest, newest *Peer
	n, most        int
	part           part
}

// push puts a peer at the end; used is its last use as known now.
func (c *chain) push(p *Peer, used Stamp) {
	p.part, p.noted = c.part, used
	p.older, p.newer = c.newest, nil
	if c.newest != nil {
		c.newest.newer = p
	} else {
		c.oldest = p
	}
	c.newest = p
	c.n++
}

func (c *chain) unlink(p *Peer) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		c.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		c.newest = p.older
	}
	p.older, p.newer = nil, nil
	c.n--
}

// renew moves a peer that was used since it was put in to the end, and reports whether it was.
func (c *chain) renew(p *Peer) bool {
	used := p.lastUse()
	if used <= p.noted {
		return false
	}
	c.unlink(p)
	c.push(p, used)
	return true
}
