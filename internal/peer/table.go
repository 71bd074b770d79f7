// Package peer keeps the list of recent Teredo peers and decides, packet by packet, which way to send and what to accept:
// the path rules that client and relay share (RFC 4380 §5.2.3–5.2.6, §5.2.9, §5.4).
//
// Two kinds of code use it. Packet workers call Table.Outgoing and Table.Incoming, from any number of goroutines and
// without a lock, for packets whose path is known. Everything else goes to one control goroutine that owns a Client or a
// Relay, the rule machines: they do no I/O, take the time as an argument and leave what is to be sent in an Output.
package peer

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	// validity is how long after its last reception an entry may be used (RFC 4380 §5.2.4, K-07).
	validity = Stamp(30 * time.Second)
	// refreshAfter is the age at which a path that is in use is tried anew, so that a flow in one direction does not
	// stall when the entry's validity ends.
	refreshAfter = Stamp(20 * time.Second)
	// silence is how long a client's transmissions to a native host go without an answer before it tries another relay.
	silence = Stamp(5 * time.Second)
	// tried stands in Peer.unheard since the last test of the path.
	tried = Stamp(math.MaxInt64)
)

// testLen is the size of a connectivity test and of its answer: IPv6 header, ICMPv6 header, nonce.
const testLen = teredo.HeaderLen + 8 + len(setup{}.nonce)

// Next Header values that matter to the path rules.
const (
	nextHeaderICMPv6 = 58
	nextHeaderNone   = 59
)

// Stamp is a moment, in nanoseconds since the table was made.
type Stamp int64

// A path is a peer's mapped IPv4 address, mapped port and flags in one word, so that workers read them together.
const (
	pathTrusted    = 1 << 48 // packets may be sent to and taken from the endpoint
	pathRefreshing = 1 << 49 // the control goroutine has been asked to refresh the path
	pathSought     = 1 << 50 // packets of the local side wait for a path
	pathMarks      = pathRefreshing | pathSought
	pathVia        = 56 // shift of the local port that the path leaves from: 0 is the service port
)

// pathWord is the path of a trusted peer at ap, through the local port via.
func pathWord(ap netip.AddrPort, via uint8) uint64 {
	return endpointWord(ap) | uint64(via)<<pathVia | pathTrusted
}

func endpointWord(ap netip.AddrPort) uint64 {
	a := ap.Addr().As4()
	return uint64(binary.BigEndian.Uint32(a[:]))<<16 | uint64(ap.Port())
}

func wordEndpoint(w uint64) netip.AddrPort {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(w>>16))
	return netip.AddrPortFrom(netip.AddrFrom4(a), uint16(w))
}

// key is an IPv6 address. All 128 bits count: several Teredo addresses can share one mapping (W-ADDR-06).
type key struct{ hi, lo uint64 }

func keyAt(b []byte) key {
	return key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func keyOf(a netip.Addr) key {
	b := a.As16()
	return keyAt(b[:])
}

func (k key) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k key) bytes() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, k.hi), k.lo)
}

func (k key) isTeredo() bool { return k.hi>>32 == 0x20010000 }

func (k key) linkLocal() bool { return k.hi>>54 == 0xfe80>>6 }

// Peer is one entry of the list. Its first 96 bytes are shared with the workers; the rest is the control goroutine's.
type Peer struct {
	key
	path            atomic.Uint64
	received        atomic.Int64 // Stamp of the last reception from the peer
	sent            atomic.Int64 // Stamp of the last transmission to the peer
	next            atomic.Pointer[Peer]
	sentPackets     atomic.Uint64
	receivedPackets atomic.Uint64
	sentBytes       atomic.Uint64
	receivedBytes   atomic.Uint64
	source          atomic.Uint64 // path that its packets come by when that is not the one above (X-UPNP-08); zero: none
	unheard         atomic.Int64  // Stamp of the first transmission to a native host since data of it has come; zero: none; or tried

	entry
}

func (p *Peer) trusted() bool            { return p.path.Load()&pathTrusted != 0 }
func (p *Peer) endpoint() netip.AddrPort { return wordEndpoint(p.path.Load()) }

func (p *Peer) via() uint8 { return uint8(p.path.Load() >> pathVia) }

// isAt reports whether packets of the trusted peer come from the endpoint to the local port via.
func (p *Peer) isAt(from netip.AddrPort, via uint8) bool {
	w := pathWord(from, via)
	return p.path.Load()&^pathMarks == w || p.trusted() && p.source.Load() == w
}

// noPath takes the path away. A search of the local side goes on.
func (p *Peer) noPath() { p.path.And(pathSought) }

// valid reports whether the path may be used at now: trusted, and heard of less than 30 s ago.
func (p *Peer) valid(now Stamp) bool {
	return p.trusted() && now-Stamp(p.received.Load()) < validity
}

// silent records a transmission, and reports whether a native host has left transmissions of some seconds unanswered, so that
// its relay is in doubt: a test finds another one, or the same after a restart. To a Teredo peer there is one way only. Once
// the path was tried, it is not in doubt again until the host has sent data, so a flow that nobody answers does not cause test
// after test. After a pause of that length the count begins anew: what was sent before may not have wanted an answer.
func (p *Peer) silent(now Stamp) bool {
	last := Stamp(p.sent.Swap(int64(now)))
	if p.isTeredo() {
		return false
	}
	switch first := Stamp(p.unheard.Load()); {
	case first == tried:
		return false
	case first == 0 || now-last >= silence:
		p.unheard.Store(int64(now))
		return false
	default:
		return now-first >= silence
	}
}

// heard records packets of data that have come from the peer.
func (p *Peer) heard(t Traffic) {
	p.receivedPackets.Add(t.Packets)
	p.receivedBytes.Add(t.Bytes)
	if !p.isTeredo() && p.unheard.Load() != 0 {
		p.unheard.Store(0)
	}
}

// justHeard reports whether a packet has come so recently that there is no need for a refresh any more.
func (p *Peer) justHeard(now Stamp) bool { return now-Stamp(p.received.Load()) < silence }

// fresh reports whether the path is valid and needs no refresh yet.
func (p *Peer) fresh(now Stamp) bool {
	return p.trusted() && now-Stamp(p.received.Load()) < refreshAfter
}

// Table finds peers by IPv6 address. Any goroutine may look up; only the control goroutine adds and removes.
type Table struct {
	epoch   time.Time
	seed    [2]uint64
	relay   bool
	testID  uint16                 // identifier of our own connectivity tests, whose replies are not for the local stack
	own     atomic.Pointer[key]    // of a client: its Teredo address; nil: not qualified
	served  atomic.Pointer[served] // of a relay: the native addresses that it serves
	natives teredo.NativePrefixes  // of a relay: those of clients
	shift   uint8                  // 64 less the bits of a bucket's number
	buckets []atomic.Pointer[Peer] // a power of two of them
}

// mixer is 2^64 divided by the golden ratio, made odd. Multiplied with it, every bit of a hash counts for the upper ones,
// which number the bucket: after one multiplication by an unlucky seed they may be much alike.
const mixer = 0x9e3779b97f4a7c15

// newTable makes a table with room for about capacity peers.
func newTable(now time.Time, capacity int, relay bool, random func([]byte)) *Table {
	size := bits.Len(uint(capacity-1)) + 1
	var seed [18]byte
	random(seed[:])
	t := &Table{
		epoch: now, relay: relay,
		seed:    [2]uint64{binary.BigEndian.Uint64(seed[:]), binary.BigEndian.Uint64(seed[8:])},
		testID:  binary.BigEndian.Uint16(seed[16:]),
		shift:   uint8(64 - size),
		buckets: make([]atomic.Pointer[Peer], 1<<size),
	}
	return t
}

// Stamp converts a time for Outgoing and Incoming. Workers call it once for a batch of packets.
func (t *Table) Stamp(now time.Time) Stamp { return Stamp(now.Sub(t.epoch)) }

// time converts a Stamp back.
func (t *Table) time(at Stamp) time.Time { return t.epoch.Add(time.Duration(at)) }

func (t *Table) bucket(k key) *atomic.Pointer[Peer] {
	hi, lo := bits.Mul64(k.hi^t.seed[0], k.lo^t.seed[1])
	return &t.buckets[(hi^lo)*mixer>>t.shift]
}

func (t *Table) lookup(k key) *Peer {
	for p := t.bucket(k).Load(); p != nil; p = p.next.Load() {
		if p.key == k {
			return p
		}
	}
	return nil
}

func (t *Table) insert(p *Peer) {
	b := t.bucket(p.key)
	p.next.Store(b.Load())
	b.Store(p)
}

func (t *Table) unlink(p *Peer) {
	at := t.bucket(p.key)
	for q := at.Load(); q != nil; q = at.Load() {
		if q == p {
			at.Store(p.next.Load())
			return
		}
		at = &q.next
	}
}

// Live reports whether packets may be sent to a peer by a path that is known.
func (t *Table) Live(peer netip.Addr, now Stamp) bool {
	p := t.lookup(keyOf(peer))
	return p != nil && p.valid(now)
}

// Verdict says what a worker does with a packet.
type Verdict uint8

const (
	Ask     Verdict = iota // give it to the control goroutine
	Carry                  // send or deliver it
	Refresh                // carry it, and have the control goroutine refresh the path
)

// Alike reports whether two IPv6 packets have the same source and destination.
func Alike(a, b []byte) bool {
	return len(a) >= teredo.HeaderLen && len(b) >= teredo.HeaderLen && string(a[8:teredo.HeaderLen]) == string(b[8:teredo.HeaderLen])
}

// Warm has the processor fetch the entries of addresses, of 16 bytes each, that are about to be looked up. With very many
// peers each of them has to come from memory. No fetch here depends on another one, so the processor does many at a time.
func (t *Table) Warm(addresses [][]byte) {
	var first [64]*Peer
	for len(addresses) > 0 {
		n := min(len(addresses), len(first))
		for i, a := range addresses[:n] {
			first[i] = t.bucket(keyAt(a)).Load()
		}
		for _, p := range first[:n] {
			if p != nil {
				p.path.Load()
				p.receivedBytes.Load() // it may be in the next line of the cache
			}
		}
		addresses = addresses[n:]
	}
}

// Outgoing says where count IPv6 packets of size bytes in all go that come from the TUN device and are all Alike, packet being
// one of them. On Carry and Refresh their transmission is recorded, and they are to go to the endpoint to from the local port via (RFC 4380 §5.2.4
// case 1, §5.4.1 case 1).
func (t *Table) Outgoing(packet []byte, count, size int, now Stamp) (to netip.AddrPort, via uint8, v Verdict) {
	if len(packet) < teredo.HeaderLen {
		return netip.AddrPort{}, 0, Ask
	}
	if src := keyAt(packet[8:]); !t.maySend(src) {
		return netip.AddrPort{}, 0, Ask
	}
	return t.Turned(packet, count, size, now)
}

// Turned is Outgoing for packets that Outward has turned back.
func (t *Table) Turned(packet []byte, count, size int, now Stamp) (to netip.AddrPort, via uint8, v Verdict) {
	p := t.lookup(keyAt(packet[24:]))
	if p == nil {
		return netip.AddrPort{}, 0, Ask
	}
	age := now - Stamp(p.received.Load())
	w := p.path.Load()
	if w&pathTrusted == 0 || age >= validity {
		return netip.AddrPort{}, 0, Ask
	}
	p.sentPackets.Add(uint64(count))
	p.sentBytes.Add(uint64(size))
	if p.silent(now) && p.unheard.Swap(int64(tried)) != int64(tried) ||
		age >= refreshAfter && w&pathRefreshing == 0 && p.path.CompareAndSwap(w, w|pathRefreshing) {
		return wordEndpoint(w), uint8(w >> pathVia), Refresh
	}
	return wordEndpoint(w), uint8(w >> pathVia), Carry
}

// Plain reports whether a UDP payload is nothing but an IPv6 packet that may be delivered as it is, if its sender is
// trusted. Anything else is for the control goroutine.
func (t *Table) Plain(payload []byte) bool {
	return len(payload) >= teredo.HeaderLen && payload[0]>>4 == 6 &&
		len(payload) == teredo.HeaderLen+int(binary.BigEndian.Uint16(payload[4:])) && payload[6] != nextHeaderNone &&
		!t.isTestReply(payload)
}

// Incoming says whether count payloads of size bytes in all that are Plain and Alike, from an endpoint to the local port via, are packets of a
// trusted peer at its known path, to be delivered. On Carry their reception is recorded (RFC 4380 §5.2.3 case 1, §5.4.2).
func (t *Table) Incoming(payload []byte, from netip.AddrPort, via uint8, count, size int, now Stamp) Verdict {
	if !t.mayDeliver(keyAt(payload[24:])) {
		return Ask
	}
	p := t.lookup(keyAt(payload[8:]))
	if p == nil || now-Stamp(p.received.Load()) >= validity {
		return Ask // packets may be held for the peer
	}
	w, seen := p.path.Load(), pathWord(from, via)
	if w&^pathMarks != seen && (w&pathTrusted == 0 || p.source.Load() != seen) {
		return Ask
	}
	if w&pathRefreshing != 0 {
		p.path.CompareAndSwap(w, w&^pathRefreshing)
	}
	p.received.Store(int64(now))
	p.heard(Traffic{uint64(count), uint64(size)})
	return Carry
}

// isTestReply reports whether an IPv6 packet looks like the answer to a connectivity test of ours: an Echo Reply with our
// identifier and as much data as a nonce has. The nonce itself is up to Client.passesTest.
func (t *Table) isTestReply(packet []byte) bool {
	return len(packet) == testLen && packet[6] == nextHeaderICMPv6 && packet[40] == teredo.ICMPv6EchoReply &&
		binary.BigEndian.Uint16(packet[44:]) == t.testID
}

// maySend reports whether a packet from the TUN device may have this source: a client sends only as itself (C-TX-10),
// a relay only for the native hosts that it serves (H-02).
func (t *Table) maySend(src key) bool {
	if t.relay {
		s := t.served.Load()
		return !s.isClients(src) && s.takesFrom(src)
	}
	own := t.own.Load()
	return own != nil && src == *own
}

// mayDeliver reports whether a packet from UDP may have this destination: a client takes only what is for itself
// (C-RX-02), a relay only what is for the native hosts that it serves (R-RX-04).
func (t *Table) mayDeliver(dst key) bool {
	if t.relay {
		return t.served.Load().deliversTo(dst)
	}
	own := t.own.Load()
	return own != nil && dst == *own
}
