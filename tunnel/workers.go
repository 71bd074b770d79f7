package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	// batch is how many packets a worker takes at a time.
	batch = 128
	// randomPortBatch is the same for a random port, which serves a single peer.
	randomPortBatch = 16
)

// ErrDeviceRemoved says that somebody else has removed the TUN interface.
var ErrDeviceRemoved = errors.New("the TUN interface was removed by another program; start again to create a new one")

// uplink carries packets from a queue of the TUN device to their peers.
func (t *outlet) uplink(ctx context.Context) error {
	defer t.readers.Done()
	packets := make([]Packet, batch)
	messages, vias := make([]Message, 0, batch), make([]uint8, 0, batch)
	runs := newRuns()
	var offers offers
	for {
		n, err := t.device().ReadBatch(packets)
		switch {
		case err == nil:
		case ctx.Err() != nil, t.leaving.Load():
			return nil
		case errors.Is(err, os.ErrClosed):
			return ErrDeviceRemoved
		case errors.Is(err, tun.ErrMalformed):
			t.drops.Count(drop.Malformed) // those before it go on
		default:
			return fmt.Errorf("read from the TUN interface: %w", err)
		}
		now := t.table.Stamp(time.Now())
		t.enter(packets[:n])
		runs.outgoing(t.table, packets[:n])
		messages, vias = messages[:0], vias[:0]
		for _, r := range runs.all {
			alike := packets[r.first : r.first+r.count]
			to, via, verdict := t.table.Outgoing(alike[0].Head, r.count, r.size, now)
			switch verdict {
			case peer.Refresh:
				t.tell(refresh, alike[0].Head, alike[0].Body)
			case peer.Carry:
				t.offer(&offers, offerOutbound, alike[0].Head, teredo.DestinationBytes(alike[0].Head), now)
			}
			for _, packet := range alike {
				if verdict == peer.Ask || !isWhole(packet) {
					t.askOutbound(packet.Head, packet.Body)
					continue
				}
				messages = append(messages, Message{Buf: packet.Head, N: len(packet.Head), Tail: packet.Body, Remote: to})
				vias = append(vias, via)
			}
		}
		t.send(messages, vias)
	}
}

// send sends each datagram from the socket whose number is in vias, and each run of one socket as a batch.
func (t *outlet) send(messages []Message, vias []uint8) {
	for len(messages) > 0 {
		n := 1
		for n < len(messages) && vias[n] == vias[0] {
			n++
		}
		t.sendFrom(vias[0], messages[:n])
		messages, vias = messages[n:], vias[n:]
	}
}

// sendFrom sends datagrams from a socket and counts those that the kernel refused.
func (t *outlet) sendFrom(via uint8, messages []Message) {
	n := 0
	if conn := t.sockets.conn(via, t.number); conn != nil {
		n, _ = conn.WriteBatch(messages)
	}
	var paths tally
	all, locals := 0, t.table.HasLocals()
	for i := range messages[:n] {
		m := &messages[i]
		size := m.N + len(m.Tail)
		all += size
		if paths.add(m.Buf[:m.N], destinationAt, size) && locals {
			paths.tellApart(t.table, teredo.DestinationBytes(m.Buf), size)
		}
	}
	t.sent.count(&paths, n, all)
	if refused := len(messages) - n; refused > 0 {
		t.drops.Add(drop.SendFailed, uint64(refused))
	}
}

// receive carries packets from peers to the TUN device, as they come to a socket with the number via, at most size at a time.
func (t *outlet) receive(conn Conn, via uint8, size int) error {
	t.readers.Add(1)
	defer t.readers.Done()
	packets := make([][]byte, 0, size)
	messages := make([]Message, size)
	runs := newRuns()
	var offers offers
	var back turned
	for {
		n, err := conn.ReadBatch(messages)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive from UDP: %w", err)
		}
		now := t.table.Stamp(time.Now())
		runs.incoming(t.table, messages[:n])
		packets = packets[:0]
		for _, r := range runs.all {
			alike := messages[r.first : r.first+r.count]
			m := &alike[0]
			ask := r.ask || t.table.Incoming(m.Buf[:m.N], m.Remote, via, r.count, r.size, now) == peer.Ask
			for i := range alike {
				payload := alike[i].Buf[:alike[i].N]
				if ask {
					t.askInbound(m.Remote, via, payload, now)
				} else {
					packets = append(packets, payload)
				}
			}
			if !ask {
				t.offer(&offers, offerInbound, m.Buf[:m.N], teredo.SourceBytes(m.Buf), now)
			}
		}
		t.deliver(packets, &back)
	}
}

// deliver writes packets to the TUN device.
func (t *outlet) deliver(packets [][]byte, back *turned) {
	packets = t.leave(packets, back)
	if len(packets) == 0 {
		return
	}
	n, _ := t.device().WriteBatch(packets)
	paths := tally{clients: t.table.Translates()}
	all, locals := 0, t.table.HasLocals()
	for _, packet := range packets[:n] {
		all += len(packet)
		if paths.add(packet, sourceAt, len(packet)) && locals {
			paths.tellApart(t.table, teredo.SourceBytes(packet), len(packet))
		}
	}
	t.received.count(&paths, n, all)
	if refused := len(packets) - n; refused > 0 {
		t.drops.Add(drop.DeliverFailed, uint64(refused))
	}
}
