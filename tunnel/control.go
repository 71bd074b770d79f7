package tunnel

import (
	"context"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// event is something that has happened, for the control goroutine to handle.
type event func(now time.Time)

// control has events handled, with handle, until ctx ends. No event may wait for anything.
func (t *tunnel) control(ctx context.Context, r rules, handle func(rules, event)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	questions := func(now time.Time) { t.takeTurns(func(q *question) { t.answer(now, r, q) }) }
	for {
		var e event
		select {
		case <-ctx.Done():
			return nil
		case <-t.wake:
			e = questions
		case e = <-t.calls:
		case <-timer.C:
			e = r.tick
		}
		handle(r, e)
		if next, ok := r.deadline(); ok {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
	}
}

// handle handles an event, and carries out what comes of it.
func (t *tunnel) handle(r rules, e event) {
	now := time.Now()
	e(now)
	r.reconcile(now)
	t.carryOut(now)
}

// answer puts a question to the rules.
func (t *tunnel) answer(now time.Time, r rules, q *question) {
	switch q.kind {
	case outbound:
		r.outbound(now, q.packet)
	case turnedBack:
		t.turnBack(now, q.packet)
	case refresh:
		r.refresh(now, q.packet)
	case offerOutbound:
		t.handOver(now, Flow{Local: teredo.Source(q.packet), Peer: teredo.Destination(q.packet)})
	case offerInbound:
		t.handOver(now, Flow{Local: teredo.Destination(q.packet), Peer: teredo.Source(q.packet)})
	case inbound:
		var packet teredo.Packet
		if packet.Parse(q.packet) == nil { // as askInbound has seen
			r.inbound(now, q.from, q.via, &packet)
		}
	}
}

// carryOut sends and delivers what the rules put into the output, and opens and closes random ports.
func (t *tunnel) carryOut(now time.Time) {
	t.sockets.takeOpened(func(conn Conn, via uint8) {
		t.workers.Go("random port", func(context.Context) error {
			_ = t.outlets.control.receive(conn, via, randomPortBatch) // when it fails, the path through this port is silent, and is given up
			return nil
		})
	})
	t.messages, t.vias = t.messages[:0], t.vias[:0]
	for _, d := range t.out.UDP.Datagrams() {
		t.messages = append(t.messages, Message{Buf: d.Payload, N: len(d.Payload), Remote: d.Remote})
		t.vias = append(t.vias, d.Via)
	}
	t.outlets.control.send(t.messages, t.vias)
	t.sockets.closeRetired()
	t.packets = t.packets[:0]
	for _, d := range t.out.TUN.Datagrams() {
		if t.keeps == nil || !t.keeps(now, d.Payload) {
			t.packets = append(t.packets, d.Payload)
		}
	}
	t.outlets.control.deliver(t.packets, &t.back)
	t.out.Reset()
}

// call has the control goroutine run f, and waits for it. It fails when the control goroutine has ended.
func (t *tunnel) call(ctx context.Context, f event) error {
	done := make(chan struct{})
	select {
	case t.calls <- func(now time.Time) { f(now); close(done) }:
		<-done
		return nil
	case <-t.stopped:
		return context.Canceled
	case <-ctx.Done():
		return ctx.Err()
	}
}
