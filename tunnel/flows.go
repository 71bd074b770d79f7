package tunnel

import (
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// flow is packets of a batch that follow each other and share their fate.
type flow struct {
	first, count int
	size         int  // bytes of all
	ask          bool // they are for the control goroutine
}

// flows are what a batch consists of. A peer is looked up once for all segments of a super-packet.
type flows struct {
	all   []flow
	peers [][]byte // addresses that are to be looked up, 16 bytes each
}

func newFlows() *flows { return &flows{make([]flow, 0, batch), make([][]byte, 0, batch)} }

// outgoing divides packets from the TUN device.
func (f *flows) outgoing(t *peer.Table, packets []tun.Packet) {
	f.all, f.peers = f.all[:0], f.peers[:0]
	for i := range packets {
		head := packets[i].Head
		size := len(head) + len(packets[i].Body)
		switch {
		case i > 0 && peer.Alike(packets[i-1].Head, head):
			f.extend(size)
		case len(head) < teredo.HeaderLen:
			f.ask(i)
		default:
			f.begin(i, size, teredo.DestinationBytes(head))
		}
	}
	f.warm(t)
}

// incoming divides UDP payloads.
func (f *flows) incoming(t *peer.Table, messages []udp.Message) {
	f.all, f.peers = f.all[:0], f.peers[:0]
	for i := range messages {
		m := &messages[i]
		payload := m.Buf[:m.N]
		switch {
		case !t.Plain(payload):
			f.ask(i)
		case f.follows() && m.Remote == messages[i-1].Remote && peer.Alike(messages[i-1].Buf[:messages[i-1].N], payload):
			f.extend(m.N)
		default:
			f.begin(i, m.N, teredo.SourceBytes(payload))
		}
	}
	f.warm(t)
}

// follows reports whether there is a flow that a packet may extend.
func (f *flows) follows() bool { return len(f.all) > 0 && !f.all[len(f.all)-1].ask }

// ask makes packet i a flow for the control goroutine.
func (f *flows) ask(i int) { f.all = append(f.all, flow{first: i, count: 1, ask: true}) }

func (f *flows) extend(size int) {
	last := &f.all[len(f.all)-1]
	last.count++
	last.size += size
}

// begin begins a flow with packet i of so many bytes, whose peer has the address.
func (f *flows) begin(i, size int, address []byte) {
	f.all = append(f.all, flow{first: i, count: 1, size: size})
	f.peers = append(f.peers, address)
}

// warm prepares the look-ups where there are several.
func (f *flows) warm(t *peer.Table) {
	if len(f.peers) > 1 {
		t.Warm(f.peers)
	}
}

// isWhole reports whether a packet with a header is as long as that says. Linux forwards packets with bytes that belong to
// nothing, when they claim to be jumbograms (RFC 2675): the peer would take these for trailers.
func isWhole(p tun.Packet) bool {
	return len(p.Head)+len(p.Body) == teredo.PacketLen(p.Head)
}
