package tunnel

import (
	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// run is packets of a batch that follow each other and share their fate.
type run struct {
	first, count int
	size         int  // bytes of all
	ask          bool // they are for the control goroutine
}

// runs are what a batch consists of. A peer is looked up once for all segments of a super-packet.
type runs struct {
	_     cpu.CacheLinePad // each worker has its own
	all   []run
	peers [][]byte // addresses that are to be looked up, 16 bytes each
	_     cpu.CacheLinePad
}

func newRuns() *runs { return &runs{all: make([]run, 0, batch), peers: make([][]byte, 0, batch)} }

// outgoing divides packets from the TUN device.
func (r *runs) outgoing(t *peer.Table, packets []Packet) {
	r.all, r.peers = r.all[:0], r.peers[:0]
	for i := range packets {
		head := packets[i].Head
		size := len(head) + len(packets[i].Body)
		switch {
		case i > 0 && peer.Alike(packets[i-1].Head, head):
			r.extend(size)
		case len(head) < teredo.HeaderLen:
			r.ask(i)
		default:
			r.begin(i, size, teredo.DestinationBytes(head))
		}
	}
	r.warm(t)
}

// incoming divides UDP payloads.
func (r *runs) incoming(t *peer.Table, messages []Message) {
	r.all, r.peers = r.all[:0], r.peers[:0]
	for i := range messages {
		m := &messages[i]
		payload := m.Buf[:m.N]
		switch {
		case !t.Plain(payload):
			r.ask(i)
		case r.follows() && m.Remote == messages[i-1].Remote && peer.Alike(messages[i-1].Buf[:messages[i-1].N], payload):
			r.extend(m.N)
		default:
			r.begin(i, m.N, teredo.SourceBytes(payload))
		}
	}
	r.warm(t)
}

// follows reports whether there is a run that a packet may extend.
func (r *runs) follows() bool { return len(r.all) > 0 && !r.all[len(r.all)-1].ask }

// ask makes packet i a run for the control goroutine.
func (r *runs) ask(i int) { r.all = append(r.all, run{first: i, count: 1, ask: true}) }

func (r *runs) extend(size int) {
	last := &r.all[len(r.all)-1]
	last.count++
	last.size += size
}

// begin begins a run with packet i of so many bytes, whose peer has the address.
func (r *runs) begin(i, size int, address []byte) {
	r.all = append(r.all, run{first: i, count: 1, size: size})
	r.peers = append(r.peers, address)
}

// warm prepares the look-ups where there are several.
func (r *runs) warm(t *peer.Table) {
	if len(r.peers) > 1 {
		t.Warm(r.peers)
	}
}

// isWhole reports whether a packet with a header is as long as that says. Linux forwards packets with bytes that belong to
// nothing, when they claim to be jumbograms (RFC 2675): the peer would take these for trailers.
func isWhole(p Packet) bool {
	return len(p.Head)+len(p.Body) == teredo.PacketLen(p.Head)
}
