package tunnel

import (
	"context"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// slot holds the latest value for one receiver.
type slot[T any] chan T

func newSlot[T any]() slot[T] { return make(slot[T], 1) }

// put replaces the value that is in the slot, if there is one. It does not wait.
func (s slot[T]) put(value T) {
	for {
		select {
		case s <- value:
			return
		case <-s:
		}
	}
}

// each works on one value after the other until ctx ends. The context of the work ends as soon as there is a newer value, which
// has its turn when the work has returned.
func (s slot[T]) each(ctx context.Context, work func(ctx context.Context, value T)) error {
	var working sync.WaitGroup
	defer working.Wait()
	stop := func() {}
	defer func() { stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case value := <-s:
			stop()
			working.Wait()
			current, cancel := context.WithCancel(ctx)
			stop = cancel
			working.Go(func() { work(current, value) })
		}
	}
}

// read gives the packets that come to a socket to the control goroutine, until ctx ends or the socket is closed; it closes
// it. It waits until each packet has been handled, so that the kernel drops a flood of them.
func (t *tunnel) read(ctx context.Context, conn Conn, take func(now time.Time, m *Message, p *teredo.Packet)) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	messages := make([]Message, 8)
	for {
		n, err := conn.ReadBatch(messages)
		if err != nil {
			return
		}
		for i := range messages[:n] {
			m := &messages[i]
			var packet teredo.Packet
			if packet.Parse(m.Buf[:m.N]) != nil {
				t.drops.Count(drop.Malformed)
				continue
			}
			if t.call(ctx, func(now time.Time) { take(now, m, &packet) }) != nil {
				return
			}
		}
	}
}
