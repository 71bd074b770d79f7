package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// halfOpenLimit is how long the second direction may be silent when the first one has ended.
const halfOpenLimit = 10 * time.Minute

// relay carries bytes between two connections until both directions have ended. The end of one is passed on, and leaves the other
// open. An error ends both, with a reset: what had been sent before it may not have arrived.
type relay struct {
	ends  [2]net.Conn
	limit time.Duration // without a byte
	began time.Time
	moved atomic.Int64 // when the last byte did, in nanoseconds since began
	half  atomic.Bool  // one direction has ended without an error
	ended atomic.Int32 // directions

	buffers *buffers
}

// relay starts to carry bytes between two connections, and calls end when it has closed both. inside is the side of the local client or
// service. The goroutines are new ones: the stack of one that has connected to a target is larger than an idle connection needs.
func (p *Proxy) relay(inside, outside net.Conn, end func()) {
	r := &relay{ends: [2]net.Conn{inside, outside}, limit: p.cfg.Idle, began: time.Now(), buffers: &p.buffers}
	stop := context.AfterFunc(p.ctx, r.abort)
	unwatch := r.watch(func() { p.counts.refuse(ReasonIdle) })
	direction := func(to, from net.Conn, bytes *atomic.Uint64) func() {
		return func() {
			r.carry(to, from, bytes)
			if r.ended.Add(1) < 2 {
				return
			}
			stop()
			unwatch()
			inside.Close()
			outside.Close()
			end()
		}
	}
	p.tasks.Go(direction(inside, outside, &p.counts.received))
	p.tasks.Go(direction(outside, inside, &p.counts.sent))
}

// watch ends the relay when nothing moves for too long.
func (r *relay) watch(idle func()) (stop func() bool) {
	var mu sync.Mutex
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(r.left(), func() {
		mu.Lock()
		defer mu.Unlock()
		if left := r.left(); left > 0 {
			timer.Reset(left)
			return
		}
		idle()
		r.abort()
	})
	return timer.Stop
}

// left is the time until the relay has been idle for too long. It is looked at twice in a limit at least, as the limit may shrink.
func (r *relay) left() time.Duration {
	limit := r.limit
	if r.half.Load() {
		limit = min(limit, halfOpenLimit)
	}
	left := limit - time.Since(r.began) + time.Duration(r.moved.Load())
	return min(left, halfOpenLimit)
}

// carry carries one direction.
func (r *relay) carry(to, from net.Conn, bytes *atomic.Uint64) {
	write := func(b []byte) error {
		n, err := to.Write(b)
		bytes.Add(uint64(n))
		r.moved.Store(int64(time.Since(r.began)))
		return err
	}
	if err := r.buffers.read(from, write); err != nil {
		r.abort()
		return
	}
	r.half.Store(true)
	if c, ok := to.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		r.abort()
	}
}

// abort resets both connections, where they can be.
func (r *relay) abort() {
	for _, c := range r.ends {
		reset(c)
	}
}

func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0) // fails only when the connection is closed
	}
	c.Close()
}

const (
	large = 64 << 10 // bytes of a buffer while data flows
	small = 2 << 10  // bytes that a connection holds which cannot tell when there is something to read
)

// buffers are those that are not in use.
type buffers struct{ pool sync.Pool }

func (b *buffers) take() *[large]byte {
	if buffer, ok := b.pool.Get().(*[large]byte); ok {
		return buffer
	}
	return new([large]byte)
}

func (b *buffers) give(buffer *[large]byte) { b.pool.Put(buffer) }

// read hands what comes from a connection to write, until its end.
func (b *buffers) read(from net.Conn, write func([]byte) error) error {
	if kernel, err := b.readReady(from, write); kernel {
		return err
	}
	if w, ok := from.(io.WriterTo); ok {
		_, err := w.WriteTo(writer(write))
		return err
	}
	return b.readInto(from, write)
}

// writer is a function as an io.Writer.
type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// readInto reads from a connection that cannot tell when there is something to read. It holds a small buffer while it waits, and
// a large one while data comes faster than it is read.
func (b *buffers) readInto(from io.Reader, write func([]byte) error) error {
	waiting := make([]byte, small)
	var buffer *[large]byte
	defer func() {
		if buffer != nil {
			b.give(buffer)
		}
	}()
	for {
		into := waiting
		if buffer != nil {
			into = buffer[:]
		}
		n, err := from.Read(into)
		if n > 0 {
			if err := write(into[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case buffer == nil && n == len(into):
			buffer = b.take()
		case buffer != nil && n < small:
			b.give(buffer)
			buffer = nil
		}
	}
}
