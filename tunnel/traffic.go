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

// Paths is the traffic with other clients, with those of them on the same subnet, and with native hosts; and what the kernel has
// carried of all three.
type Paths struct {
	Direct Traffic `json:"direct,omitzero"`
	Local  Traffic `json:"local,omitzero"` // not in Direct
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

// directed counts one direction: all packets; of these, those to and from other clients, clients on our subnet, and native hosts; and of
// these three, what the kernel has carried.
type directed struct{ all, direct, local, relay, kernel counters }

// Carried is all traffic since the start, and what the kernel has carried of it. It waits for nobody, and may be called at any time.
func (t *tunnel) Carried() (all, byKernel Traffic) {
	all, paths := t.carried()
	return all, paths.Kernel
}

// carried adds up what all workers have counted.
func (t *tunnel) carried() (all Traffic, paths Paths) {
	for _, o := range t.outlets.all {
		sent, received := &o.sent, &o.received
		all.add(&sent.all, &received.all)
		paths.Direct.add(&sent.direct, &received.direct)
		paths.Local.add(&sent.local, &received.local)
		paths.Relay.add(&sent.relay, &received.relay)
		paths.Kernel.add(&sent.kernel, &received.kernel)
	}
	return all, paths
}

func (t *Traffic) add(sent, received *counters) {
	t.SentPackets += sent.packets.Load()
	t.SentBytes += sent.bytes.Load()
	t.ReceivedPackets += received.packets.Load()
	t.ReceivedBytes += received.bytes.Load()
}

// tally is the traffic of a batch in one direction.
type tally struct {
	direct, local, relay peer.Traffic
	clients              bool // all peers are clients: some addresses of theirs are native ones

	// Of the latest packet that may have been local: the peer's address, and whether it was.
	with  []byte
	known bool
}

// add counts a packet of so many bytes that begins with head, and reports whether its other end is a client. Other is where the address of
// that begins: its source or its destination. What is for the server is no traffic of peers: its addresses are link-local, or it is not
// a plain IPv6 packet.
func (t *tally) add(head []byte, other, size int) (client bool) {
	if len(head) < teredo.HeaderLen || head[0]>>4 != 6 || head[other] >= 0xfe {
		return false
	}
	of := &t.relay
	if client = t.clients || binary.BigEndian.Uint32(head[other:]) == teredoPrefix; client {
		of = &t.direct
	}
	of.Packets++
	of.Bytes += uint64(size)
	return client
}

// tellApart makes the packet of a client that add has just counted a local one if the client is on our subnet.
func (t *tally) tellApart(table *peer.Table, address []byte, size int) {
	if string(address) != string(t.with) {
		t.with, t.known = address, table.IsLocal(address)
	}
	if t.known {
		t.direct.Packets--
		t.direct.Bytes -= uint64(size)
		t.local.Packets++
		t.local.Bytes += uint64(size)
	}
}

// count adds a batch with so many packets and bytes.
func (d *directed) count(t *tally, packets, bytes int) {
	d.all.add(peer.Traffic{Packets: uint64(packets), Bytes: uint64(bytes)})
	d.direct.add(t.direct)
	d.local.add(t.local)
	d.relay.add(t.relay)
}

// countKernel adds what the kernel has carried to or from a peer.
func (d *directed) countKernel(table *peer.Table, with netip.Addr, t peer.Traffic) {
	d.all.add(t)
	d.kernel.add(t)
	switch {
	case table.IsLocal(with.AsSlice()):
		d.local.add(t)
	case teredo.IsTeredo(with):
		d.direct.add(t)
	default:
		d.relay.add(t)
	}
}
