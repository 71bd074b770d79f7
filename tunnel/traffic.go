package tunnel

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// Where addresses begin in an IPv6 header, and the first 32 bits of those of Teredo clients.
const (
	sourceAt, destinationAt = 8, 24
	teredoPrefix            = 0x2001_0000
)

// Traffic is what went both ways. Bytes are those of IPv6 packets, without the headers of IPv4 and UDP.
type Traffic struct {
	SentPackets     uint64 `json:"sent_packets"`
	ReceivedPackets uint64 `json:"received_packets"`
	SentBytes       uint64 `json:"sent_bytes"`
	ReceivedBytes   uint64 `json:"received_bytes"`
}

// Paths is the traffic with other clients and with native hosts, and what the kernel has carried of both.
type Paths struct {
	Direct Traffic `json:"direct,omitzero"`
	Relay  Traffic `json:"relay,omitzero"`
	Kernel Traffic `json:"kernel,omitzero"`
}

// counters count packets in one direction, and their bytes.
type counters struct{ packets, bytes atomic.Uint64 }

func (c *counters) add(t peer.Traffic) {
	if t.Packets > 0 {
		c.packets.Add(t.Packets)
		c.bytes.Add(t.Bytes)
	}
}

// directed counts one direction: to and from other clients, to and from native hosts, and of both what the kernel has carried.
type directed struct{ direct, relay, kernel counters }

func (t *tunnel) traffic() Paths {
	of := func(sent, received *counters) Traffic {
		return Traffic{
			SentPackets: sent.packets.Load(), SentBytes: sent.bytes.Load(),
			ReceivedPackets: received.packets.Load(), ReceivedBytes: received.bytes.Load(),
		}
	}
	sent, received := &t.sentBy, &t.receivedBy
	return Paths{of(&sent.direct, &received.direct), of(&sent.relay, &received.relay), of(&sent.kernel, &received.kernel)}
}

// tally is the traffic of a batch in one direction.
type tally struct {
	direct, relay peer.Traffic
	clients       bool // all peers are clients: some addresses of theirs are native ones
}

// add counts a packet of so many bytes that begins with head. Other is where its other end's address begins: that of its source or of
// its destination. What is for the server is no traffic of peers: its addresses are link-local, or it is not a plain IPv6 packet.
func (t *tally) add(head []byte, other, size int) {
	if len(head) < teredo.HeaderLen || head[0]>>4 != 6 || head[other] >= 0xfe {
		return
	}
	of := &t.relay
	if t.clients || binary.BigEndian.Uint32(head[other:]) == teredoPrefix {
		of = &t.direct
	}
	of.Packets++
	of.Bytes += uint64(size)
}

// count adds a batch.
func (d *directed) count(t *tally) {
	d.direct.add(t.direct)
	d.relay.add(t.relay)
}

// countKernel adds what the kernel has carried to or from a peer.
func (d *directed) countKernel(with netip.Addr, t peer.Traffic) {
	d.kernel.add(t)
	if teredo.IsTeredo(with) {
		d.direct.add(t)
	} else {
		d.relay.add(t)
	}
}
