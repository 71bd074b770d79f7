package peer

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Next Header values that matter to the path rules.
const (
	nextHeaderICMPv6 = 58
	nextHeaderNone   = 59
)

// Table finds peers by IPv6 address. Any goroutine may look up; only the control goroutine adds and removes.
type Table struct {
	epoch   time.Time
	seed    [2]uint64
	relay   bool
	testID  uint16                 // identifier of our own connectivity tests, whose replies are not for the local stack
	pinging atomic.Bool            // a ping waits for its answer, see Client.Ping
	own     atomic.Pointer[key]    // of a client: its Teredo address; nil: not qualified
	served  atomic.Pointer[served] // of a relay: the native addresses that it serves
	natives teredo.NativePrefixes  // of a relay: those of clients
	locals  atomic.Bool            // of a client: some path leads, or has led, to a peer on our subnet
	shift   uint8                  // 64 less the bits of a bucket's number
	buckets []bucket               // a power of two of them
}

// newTable makes a table with room for about capacity peers.
func newTable(now time.Time, capacity int, relay bool, random func([]byte)) *Table {
	size := max(0, bits.Len(uint(capacity-1))-2) // of the buckets' number in bits: two to four peers in each when all are there
	var seed [18]byte
	random(seed[:])
	t := &Table{
		epoch: now, relay: relay,
		seed:    [2]uint64{binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:])},
		testID:  binary.BigEndian.Uint16(seed[16:]),
		shift:   uint8(64 - size),
		buckets: make([]bucket, 1<<size),
	}
	return t
}

// Stamp converts a time for Outgoing and Incoming. Workers call it once for a batch of packets.
func (t *Table) Stamp(now time.Time) Stamp { return Stamp(now.Sub(t.epoch)) }

// time converts a Stamp back.
func (t *Table) time(at Stamp) time.Time { return t.epoch.Add(time.Duration(at)) }

// Live reports whether packets may be sent to a peer by a path that is known.
func (t *Table) Live(peer netip.Addr, now Stamp) bool { return t.lookup(keyOf(peer)).valid(now) }

// markLocal notes whether the path of a peer leads to its endpoint on our subnet.
func (t *Table) markLocal(p *Peer) {
	switch d := p.details; {
	case d == nil || d.local.at == 0:
	case p.trusted() && p.endpoint() == d.local.at:
		p.path.Or(pathLocal)
		t.locals.Store(true)
	default:
		p.path.And(^pathLocal)
	}
}

// HasLocals reports whether IsLocal may be true for some peer.
func (t *Table) HasLocals() bool { return t.locals.Load() }

// IsLocal reports whether the path of the peer with an address, of 16 bytes, leads to its endpoint on our subnet.
func (t *Table) IsLocal(address []byte) bool {
	p := t.lookup(keyAt(address))
	return p != nil && p.path.Load()&pathLocal != 0
}

// Action says what a worker does with a packet.
type Action uint8

const (
	Ask     Action = iota // give it to the control goroutine
	Carry                 // send or deliver it
	Refresh               // carry it, and have the control goroutine try the path anew
)

// Alike reports whether two IPv6 packets have the same source and destination.
func Alike(a, b []byte) bool {
	return len(a) >= teredo.HeaderLen && len(b) >= teredo.HeaderLen && string(a[8:teredo.HeaderLen]) == string(b[8:teredo.HeaderLen])
}

// Outgoing says where count IPv6 packets of size bytes in all go that come from the TUN device and are all Alike, packet
// being one of them. On Carry and Refresh their transmission is recorded, and they are to go to the endpoint to from the
// local port via (RFC 4380 §5.2.4 case 1, §5.4.1 case 1).
func (t *Table) Outgoing(packet []byte, count, size int, now Stamp) (to netip.AddrPort, via uint8, a Action) {
	if len(packet) < teredo.HeaderLen {
		return netip.AddrPort{}, 0, Ask
	}
	if src := sourceOf(packet); !t.isOwn(src) && !t.relays(src, outgoing) {
		return netip.AddrPort{}, 0, Ask
	}
	return t.Turned(packet, count, size, now)
}

// Turned is Outgoing for packets that Outward has turned back.
func (t *Table) Turned(packet []byte, count, size int, now Stamp) (to netip.AddrPort, via uint8, a Action) {
	p := t.lookup(destinationOf(packet))
	if p == nil {
		return netip.AddrPort{}, 0, Ask
	}
	age := now - p.received.Load()
	w := p.path.Load()
	if w&pathTrusted == 0 || age >= validity {
		return netip.AddrPort{}, 0, Ask
	}
	doubt := p.silent(1, now, p.sent.Load(), now)
	p.sent.Store(now)
	p.sentPackets.Add(uint64(count))
	p.sentBytes.Add(uint64(size))
	if doubt || age >= refreshAfter && w&pathRefreshing == 0 && p.path.CompareAndSwap(w, w|pathRefreshing) {
		return w.endpoint().addrPort(), w.via(), Refresh
	}
	return w.endpoint().addrPort(), w.via(), Carry
}

// Plain reports whether a UDP payload is nothing but an IPv6 packet that may be delivered as it is, if its sender is
// trusted. Anything else is for the control goroutine.
func (t *Table) Plain(payload []byte) bool {
	return len(payload) >= teredo.HeaderLen && payload[0]>>4 == 6 &&
		len(payload) == teredo.HeaderLen+int(binary.BigEndian.Uint16(payload[4:])) && payload[6] != nextHeaderNone &&
		!t.isTestReply(payload) && !t.mayAnswerPing(payload)
}

// Incoming says whether count payloads of size bytes in all that are Plain and Alike, payload being one of them, are packets
// of a trusted peer and have come by its path, from an endpoint to the local port via. On Carry their reception is recorded,
// and they are to be delivered; else it says Ask (RFC 4380 §5.2.3 case 1, §5.4.2).
func (t *Table) Incoming(payload []byte, from netip.AddrPort, via uint8, count, size int, now Stamp) Action {
	if len(payload) < teredo.HeaderLen {
		return Ask
	}
	if dst := destinationOf(payload); !t.isOwn(dst) && !t.relays(dst, incoming) {
		return Ask
	}
	p := t.lookup(sourceOf(payload))
	if p == nil || now-p.received.Load() >= validity {
		return Ask // packets may be held for the peer
	}
	w, at := p.path.Load(), pathTo(endpointOf(from), via)
	if w&^pathMarks != at {
		if w&pathTrusted == 0 || p.source.Load() != at {
			return Ask
		}
		if !p.isTeredo() {
			p.carried(Traffic{uint64(count), uint64(size)})
			return Carry
		}
	}
	if w&pathRefreshing != 0 {
		p.path.CompareAndSwap(w, w&^pathRefreshing)
	}
	p.received.Store(now)
	p.heard(Traffic{uint64(count), uint64(size)})
	return Carry
}

// direction is the way of a packet between the local side, a client's stack or a relay's native network, and the peers.
type direction bool

const (
	outgoing direction = true
	incoming direction = false
)

// isOwn reports whether an address is the client's own, for which alone it sends and receives (C-TX-10, C-RX-02).
func (t *Table) isOwn(k key) bool {
	own := t.own.Load()
	return own != nil && k == *own
}

// relays reports whether a relay carries packets the way that have the address on the native side (R-RX-04, H-02). Packets that have
// a client's native address there turn back, so none come out of the native network.
func (t *Table) relays(k key, way direction) bool {
	if !t.relay {
		return false
	}
	s := t.served.Load()
	return s.has(k, way) && (way == incoming || !s.isClients(k))
}

// Rank says how much it matters that a datagram gets to the control goroutine when there are more than it can look at.
type Rank uint8

const (
	Stranger   Rank = iota // nobody here has to do with its sender
	Known                  // it came on the path of a peer that nothing was sent to
	FromServer             // the client's server has passed it on, or somebody says so
	Wanted                 // its sender is being looked for, or packets are sent to it
)

// Rank tells the rank of a well-formed UDP payload that came from an endpoint to the local port via, by its addresses. A payload
// that is not for this host has none: why is the reason to drop it.
//
// Whoever sends the payload can choose its addresses. But a stranger does not know which peers are being looked for. Only
// during such a search a packet in the name of that peer has the highest rank from any endpoint; at all other times it must
// come on the peer's path.
func (t *Table) Rank(pkt *teredo.Packet, from netip.AddrPort, via uint8) (rank Rank, why drop.Reason) {
	src, dst, at := sourceOf(pkt.IPv6), destinationOf(pkt.IPv6), pathTo(endpointOf(from), via)
	p := t.lookup(src)
	own := t.own.Load()
	switch {
	case t.relay:
		if p == nil && !dst.isLinkLocal() && !t.relays(dst, incoming) {
			return Stranger, drop.Destination // R-RX-04
		}
	case teredo.IsICMPv6Type(pkt.IPv6, teredo.ICMPv6RouterAdvertisement): // to the address of a solicitation
	case own == nil:
		return Stranger, drop.NotQualified
	case dst != *own:
		return Stranger, drop.Destination // C-RX-02
	}
	switch {
	case p != nil && (p.path.Load()&pathSought != 0 || t.isTestReply(pkt.IPv6)):
		return Wanted, drop.None
	case p.isAt(at) && p.sentPackets.Load() > 0:
		return Wanted, drop.None
	case p.isAt(at):
		return Known, drop.None
	case own != nil && at.endpoint() == own.server():
		return FromServer, drop.None
	}
	return Stranger, drop.None
}
