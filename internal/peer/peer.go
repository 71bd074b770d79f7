// Package peer keeps the list of recent Teredo peers and decides, packet by packet, which way to send and what to accept:
// the rules for paths of clients and relays. Each file that holds rules has the RFC and the section in its name:
//
//	RFC 4380   §5.2.3 reception            rfc4380_523_reception.go
//	           §5.2.4 transmission         rfc4380_524_transmission.go
//	           §5.2.5 maintenance          package qualify; a new mapping: Client.SetAddress in client.go
//	           §5.2.6 bubbles              rfc4380_526_bubbles.go
//	           §5.2.8 local discovery      rfc4380_528_discovery.go
//	           §5.2.9 connectivity test    rfc4380_529_connectivity.go
//	           §5.4   relay                rfc4380_54_relay.go
//	RFC 6081   §5.2   symmetric NATs       rfc6081_52_nonces.go, rfc6081_52_pathtests.go
//	           §5.3   UPnP                 rfc6081_53_portmapping.go
//	           §5.4   port preservation    rfc6081_54_randomports.go
//	           §5.5   sequential ports     rfc6081_55_echotests.go
//	           §5.6   hairpinning          rfc6081_56_alternates.go
//	           §5.7   server load          rfc6081_57_solicitations.go
//	           what they have in common    rfc6081.go
//
// §5.2.1, §5.2.2, §5.2.7 and §5.2.10 of RFC 4380 concern the client and its server: package qualify. The other files hold the list
// itself: table.go what workers look up, list.go which peers are kept, search.go the search for a path. Identifiers in
// comments, such as C-RX-10, are requirements: docs/conformance.md lists them with their sections.
//
// Two kinds of code use the package. Packet workers call Table.Outgoing and Table.Incoming, from any number of goroutines
// and without a lock, for packets whose path is known. Everything else goes to one control goroutine that owns a Client or
// a Relay, the rule machines: they do no I/O, take the time as an argument and leave what is to be sent in an Output.
//
// A packet that is refused has a drop.Reason. Functions return it, and the method that the control goroutine has called
// counts it; only packets that were held are counted when their search ends.
package peer

import (
	"sync/atomic"
	"time"
)

const (
	// validity is how long after its last reception an entry may be used (RFC 4380 §5.2.4, K-07).
	validity = Stamp(30 * time.Second)
	// refreshAfter is the age at which a path in use is tried anew, so that one-way traffic does not stall when the
	// validity of the entry ends.
	refreshAfter = Stamp(20 * time.Second)
	// silence is how long a client's transmissions to a native host go without an answer before it looks for another relay. There
	// must be several of them: TCP sends the third one 0.6 s after the first when its round trips are short. After a pause the
	// count begins anew. Each test doubles the time until data of the host comes, so a flow that nobody answers does not cause
	// test after test.
	silence = Stamp(500 * time.Millisecond)
	pause   = Stamp(2 * time.Second)

	// What the lowest bits of Peer.unheard tell: how many transmissions there were, up to those that suffice, how often the time was
	// doubled, and whether it is over.
	unanswered = 3
	doubling   = 1 << 2
	doublings  = 7 * doubling
	doubted    = 1 << 5
	unheardLow = unanswered | doublings | doubted
)

// Stamp is a moment of the coarse clock, in nanoseconds since the table was made.
type Stamp int64

// moment is a Stamp in seconds that has room beside others in a word. It begins anew after 194 days.
type moment [3]byte

func momentOf(at Stamp) moment {
	s := uint32(at / second)
	return moment{byte(s >> 16), byte(s >> 8), byte(s)}
}

// age is how many seconds ago the moment was. After more than 194 days it is too small.
func (m moment) age(now Stamp) uint32 {
	return (uint32(now/second) - (uint32(m[0])<<16 | uint32(m[1])<<8 | uint32(m[2]))) % (1 << 24)
}

// Peer is one entry of the list. Its first 88 bytes are shared with the workers; the rest is the control goroutine's. What is needed to
// send fills the first 64 bytes, the size of a line of the cache.
type Peer struct {
	key
	path            atomicPath
	received        atomicStamp // last reception from the peer
	sent            atomicStamp // last transmission to the peer
	sentPackets     atomic.Uint64
	sentBytes       atomic.Uint64
	unheard         atomicStamp // first transmission to a native host since data of it has come, see silent; zero: none
	receivedPackets atomic.Uint64
	receivedBytes   atomic.Uint64
	source          atomicPath // another path that its packets come by (X-UPNP-08; of a native host, see addRelay); zero: none

	entry
}

func (p *Peer) trusted() bool      { return p.path.Load()&pathTrusted != 0 }
func (p *Peer) endpoint() endpoint { return p.path.Load().endpoint() }

// isAt reports whether packets of a trusted peer come by the path.
func (p *Peer) isAt(at path) bool {
	return p != nil && (p.path.Load()&^pathMarks == at || p.isAsymmetric() && p.trusted() && p.source.Load() == at)
}

// isAsymmetric reports whether packets for a Teredo peer go another way than its own come.
func (p *Peer) isAsymmetric() bool { return p.isTeredo() && p.source.Load() != 0 }

// noPath takes the path away. A search of the local side goes on.
func (p *Peer) noPath() { p.path.And(pathSought) }

// valid reports whether the path may be used at now: trusted, and heard of less than 30 s ago (RFC 4380 §5.2.4).
func (p *Peer) valid(now Stamp) bool {
	return p != nil && p.trusted() && now-p.received.Load() < validity
}

// recent reports whether the path is valid and needs no refresh yet.
func (p *Peer) recent(now Stamp) bool { return p.trusted() && now-p.received.Load() < refreshAfter }

// justHeard reports whether a packet has come since about the last attempt at a path, so that there is no need for another one.
func (p *Peer) justHeard(now Stamp) bool { return now-p.received.Load() <= retryAfter }

// bidirectional reports whether data has gone both ways, more than a single spoofed datagram can bring about.
func (p *Peer) bidirectional() bool {
	return p.trusted() && p.sentPackets.Load() > 0 && p.receivedPackets.Load() > 1
}

func (p *Peer) lastUse() Stamp { return max(p.sent.Load(), p.received.Load()) }

// silent reports whether a native host leaves transmissions unanswered, n of which are about to leave, or have left since a moment;
// last is when the one before left. The host's relay may have gone or restarted, and a test finds the way. To a Teredo peer there
// is one way only. What was sent before a pause may not have wanted an answer.
func (p *Peer) silent(n int, since, last, now Stamp) bool {
	if p.isTeredo() {
		return false // and the field is not looked at, which may be in another line of the cache
	}
	was := p.unheard.Load()
	if was&doubted != 0 {
		return true
	}
	first, doubled, count := was&^unheardLow, was&doublings, was&unanswered
	if was == 0 || now-last >= pause {
		first, count = since&^unheardLow, 0
	}
	count = min(count+Stamp(n), unanswered)
	next := first | doubled | count
	if count == unanswered && now-first >= silence<<(doubled/doubling) {
		next |= doubted
	}
	return (next == was || p.unheard.CompareAndSwap(was, next)) && next&doubted != 0
}

// inDoubt reports whether the path was found silent, and begins to count anew.
func (p *Peer) inDoubt(now Stamp) bool {
	was := p.unheard.Load()
	return was&doubted != 0 && p.unheard.CompareAndSwap(was, now&^unheardLow|min(was&doublings+doubling, doublings))
}

// recount begins to count anew when the path is tested. A path that is being looked for is in no doubt before data has come by it.
func (p *Peer) recount(now Stamp) {
	doubled := p.unheard.Load() & doublings
	if !p.valid(now) {
		doubled = doublings
	}
	p.unheard.Store(now&^unheardLow | doubled)
}

// carried records packets of data that have come from the peer.
func (p *Peer) carried(t Traffic) {
	p.receivedPackets.Add(t.Packets)
	p.receivedBytes.Add(t.Bytes)
}

// heard records packets of data that have come by the peer's path.
func (p *Peer) heard(t Traffic) {
	p.carried(t)
	if !p.isTeredo() && p.unheard.Load() != 0 {
		p.unheard.Store(0)
	}
}
