// Package tunnel moves packets between a TUN device and UDP, for a client and for a relay.
//
// Two workers carry packets whose path is known: uplink from the TUN device to UDP, receive back. They look peers up
// without a lock, read the clock once for a batch and own their buffers. Whatever needs a decision goes through a bounded
// queue to one control goroutine, which owns the rule machines of packages qualify and peer.
package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	// batch is how many packets a worker takes at a time.
	batch = 128
	// portBatch is the same for a random port, which serves a single peer.
	portBatch = 16
)

// Conn is the UDP socket of the service port. *udp.Conn is one; tests have another.
type Conn interface {
	ReadBatch(ms []udp.Message) (int, error)
	WriteBatch(ms []udp.Message) (int, error)
	LocalAddr() netip.AddrPort
	Offloads() udp.Offloads
	Close() error
}

// rules decide about the packets that the workers don't carry by themselves. Only the control goroutine calls them.
type rules interface {
	outbound(now time.Time, packet []byte)
	inbound(now time.Time, from netip.AddrPort, via uint8, p *teredo.Packet)
	refresh(now time.Time, dst netip.Addr)
	tick(now time.Time)
	deadline() (time.Time, bool)
}

// pump is what client and relay have in common.
type pump struct {
	dev    tun.Device
	conn   Conn // the service port
	ports  ports
	table  *peer.Table
	drops  *drop.Counters
	kernel kernelFlows

	queues  [lanes]queue
	wake    chan struct{}            // a question waits
	nonce   atomic.Uint64            // of the router solicitation that a client waits for the answer to; zero: none
	calls   chan func(now time.Time) // run by the control goroutine
	stopped chan struct{}            // closed when the control goroutine has ended

	out      peer.Output // of the control goroutine
	messages []udp.Message
	vias     []uint8
	packets  [][]byte

	sent, received           atomic.Uint64 // packets carried to UDP and from it
	sentBytes, receivedBytes atomic.Uint64 // of them, without the headers of IPv4 and UDP
	sentBy, receivedBy       directed      // of both, by path
}

func newPump(dev tun.Device, conn Conn, kernel func() (Kernel, error), drops *drop.Counters) *pump {
	p := &pump{
		dev: dev, conn: conn, drops: drops,
		kernel: kernelFlows{
			open: kernel, all: make(map[kernelpath.Flow]*kernelFlow), refused: make(map[kernelpath.Flow]bool),
		},
		wake:    make(chan struct{}, 1),
		calls:   make(chan func(time.Time)),
		stopped: make(chan struct{}),
	}
	p.ports.conns[0].Store(&conn)
	for l := range lanes {
		room, _ := l.limits()
		p.queues[l].init(room)
	}
	return p
}

// run carries packets until ctx ends, and closes the socket and the device.
func (p *pump) run(ctx context.Context, r rules, also ...func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.uplink(ctx) })
	group.Go(func() error { return p.receive(p.conn, 0, batch) })
	group.Go(func() error {
		defer close(p.stopped)
		defer p.dev.Close()
		defer p.conn.Close()
		defer p.closePorts()
		err := p.control(ctx, r)
		if p.kernel.path != nil {
			p.kernel.path.Close()
		}
		return err
	})
	if p.kernel.open != nil {
		group.Go(func() error { return p.openKernel(ctx) })
	}
	for _, f := range also {
		group.Go(func() error { return f(ctx) })
	}
	return group.Wait()
}

// uplink carries packets from the TUN device to their peers.
func (p *pump) uplink(ctx context.Context) error {
	packets := make([]tun.Packet, batch)
	messages, vias := make([]udp.Message, 0, batch), make([]uint8, 0, batch)
	flows := newFlows()
	var offers offers
	for {
		n, err := p.dev.ReadBatch(packets)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, os.ErrClosed):
			return errors.New("the TUN interface was removed by somebody else; start again to make a new one")
		case errors.Is(err, tun.ErrMalformed):
			p.drops.Count(drop.Malformed) // those before it go on
		default:
			return fmt.Errorf("read from the TUN interface: %w", err)
		}
		now := p.table.Stamp(time.Now())
		flows.outgoing(p.table, packets[:n])
		messages, vias = messages[:0], vias[:0]
		for _, f := range flows.all {
			alike := packets[f.first : f.first+f.count]
			to, via, verdict := p.table.Outgoing(alike[0].Head, f.count, f.size, now)
			switch verdict {
			case peer.Refresh:
				p.tell(refresh, alike[0].Head)
			case peer.Carry:
				p.offer(&offers, offerOutbound, alike[0].Head, now)
			}
			for _, packet := range alike {
				if verdict == peer.Ask || !isWhole(packet) {
					p.askOutbound(packet.Head, packet.Body)
					continue
				}
				messages = append(messages, udp.Message{Buf: packet.Head, N: len(packet.Head), Tail: packet.Body, Remote: to})
				vias = append(vias, via)
			}
		}
		p.sendVia(messages, vias)
	}
}

// send sends datagrams from a local port and counts those that the kernel refused.
func (p *pump) send(via uint8, messages []udp.Message) {
	n := 0
	if conn := p.ports.conn(via); conn != nil {
		n, _ = conn.WriteBatch(messages)
	}
	p.sent.Add(uint64(n))
	size := 0
	var paths tally
	for i := range messages[:n] {
		m := &messages[i]
		size += m.N + len(m.Tail)
		paths.add(m.Buf[:m.N], destinationAt, m.N+len(m.Tail))
	}
	p.sentBytes.Add(uint64(size))
	p.sentBy.count(&paths)
	if refused := len(messages) - n; refused > 0 {
		p.drops.Add(drop.SendFailed, uint64(refused))
	}
}

// receive carries packets from peers to the TUN device, as they come to one local port, at most size at a time.
func (p *pump) receive(conn Conn, via uint8, size int) error {
	packets := make([][]byte, 0, size)
	messages := make([]udp.Message, size)
	flows := newFlows()
	var offers offers
	for {
		n, err := conn.ReadBatch(messages)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive from UDP: %w", err)
		}
		now := p.table.Stamp(time.Now())
		flows.incoming(p.table, messages[:n])
		packets = packets[:0]
		for _, f := range flows.all {
			alike := messages[f.first : f.first+f.count]
			m := &alike[0]
			ask := f.ask || p.table.Incoming(m.Buf[:m.N], m.Remote, via, f.count, f.size, now) == peer.Ask
			for i := range alike {
				payload := alike[i].Buf[:alike[i].N]
				if ask {
					p.askInbound(m.Remote, via, payload, now)
				} else {
					packets = append(packets, payload)
				}
			}
			if !ask {
				p.offer(&offers, offerInbound, m.Buf[:m.N], now)
			}
		}
		p.deliver(packets)
	}
}

// deliver writes packets to the TUN device.
func (p *pump) deliver(packets [][]byte) {
	if len(packets) == 0 {
		return
	}
	n, _ := p.dev.WriteBatch(packets)
	p.received.Add(uint64(n))
	size := 0
	var paths tally
	for _, packet := range packets[:n] {
		size += len(packet)
		paths.add(packet, sourceAt, len(packet))
	}
	p.receivedBytes.Add(uint64(size))
	p.receivedBy.count(&paths)
	if refused := len(packets) - n; refused > 0 {
		p.drops.Add(drop.DeliverFailed, uint64(refused))
	}
}

// control runs the rules until ctx ends.
func (p *pump) control(ctx context.Context, r rules) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var round <-chan time.Time
	for {
		if p.kernel.path != nil && round == nil {
			ticker := time.NewTicker(kernelRound)
			defer ticker.Stop()
			round = ticker.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.wake:
			now := time.Now()
			p.takeTurns(func(q *question) { p.answer(now, r, q) })
		case call := <-p.calls:
			call(time.Now())
		case <-timer.C:
			r.tick(time.Now())
		case now := <-round:
			p.account(now)
		}
		p.carryOut()
		if next, ok := r.deadline(); ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
	}
}

// answer puts a question to the rules.
func (p *pump) answer(now time.Time, r rules, q *question) {
	switch q.kind {
	case outbound:
		r.outbound(now, q.packet)
	case refresh:
		r.refresh(now, teredo.Destination(q.packet))
	case offerOutbound:
		p.handOver(now, kernelpath.Flow{Local: teredo.Source(q.packet), Peer: teredo.Destination(q.packet)})
	case offerInbound:
		p.handOver(now, kernelpath.Flow{Local: teredo.Destination(q.packet), Peer: teredo.Source(q.packet)})
	case inbound:
		var packet teredo.Packet
		if packet.Parse(q.packet) == nil { // as askInbound has seen
			r.inbound(now, q.from, q.via, &packet)
		}
	}
}

// carryOut sends and delivers what the rules put into the output.
func (p *pump) carryOut() {
	p.messages, p.vias = p.messages[:0], p.vias[:0]
	for _, d := range p.out.UDP.Datagrams() {
		p.messages = append(p.messages, udp.Message{Buf: d.Payload, N: len(d.Payload), Remote: d.Remote})
		p.vias = append(p.vias, d.Via)
	}
	p.sendVia(p.messages, p.vias)
	p.closeRetired()
	p.packets = p.packets[:0]
	for _, d := range p.out.TUN.Datagrams() {
		p.packets = append(p.packets, d.Payload)
	}
	p.deliver(p.packets)
	p.out.Reset()
}

// call has the control goroutine run f, and waits for it.
func (p *pump) call(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	select {
	case p.calls <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-p.stopped:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}
