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
}

// relay starts to carry bytes between two connections, and calls end when it has closed both. inside is the side of the local client or
// service.
func (p *Proxy) relay(inside, outside net.Conn, end func()) {
	r := &relay{ends: [2]net.Conn{inside, outside}, limit: p.cfg.Idle, began: time.Now()}
	stop := context.AfterFunc(p.ctx, r.abort)
	unwatch := r.watch(func() { p.counts.refuse(ReasonIdle) })
	for _, d := range []*direction{
		{relay: r, to: inside, from: p.buffers.source(outside), bytes: &p.counts.received},
		{relay: r, to: outside, from: p.buffers.source(inside), bytes: &p.counts.sent},
	} {
		p.tasks.Add(1)
		d.carry = func() {
			if d.pass() {
				go d.wait(p.crew)
				return
			}
			defer p.tasks.Done()
			if r.ended.Add(1) < 2 {
				return
			}
			stop()
			unwatch()
			inside.Close()
			outside.Close()
			end()
		}
		go d.wait(p.crew)
	}
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

// direction is one direction of a relay.
type direction struct {
	*relay
	to    net.Conn
	from  source
	bytes *atomic.Uint64
	carry func() // carries what there is, and then waits again
	err   error  // of waiting
}

// wait waits for something to carry. This goroutine is all that an idle direction has: it does nothing that needs more stack.
func (d *direction) wait(c *crew) {
	d.err = d.from.wait()
	c.do(d.carry)
}

// pass passes on what there is, and reports whether more may come.
func (d *direction) pass() bool {
	err := d.err
	if err == nil {
		err = d.from.pass(d.write)
	}
	switch {
	case err == nil:
		return true
	case !errors.Is(err, io.EOF):
		d.abort()
		return false
	}
	d.half.Store(true)
	if c, ok := d.to.(interface{ CloseWrite() error }); !ok || c.CloseWrite() != nil {
		d.abort()
	}
	return false
}

func (d *direction) write(b []byte) error {
	n, err := d.to.Write(b)
	d.bytes.Add(uint64(n))
	d.moved.Store(int64(time.Since(d.began)))
	return err
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

// source is a connection to read from.
type source interface {
	wait() error                         // waits until there is something to read: data, their end or an error
	pass(write func([]byte) error) error // hands over what there is; nil: wait must follow; io.EOF: that was all
}

func (b *buffers) source(from net.Conn) source {
	if s := newKernelSource(from, b); s != nil {
		return s
	}
	if s, ok := from.(passer); ok {
		return passing{s}
	}
	return &plainSource{from, b}
}

// passer is a connection that can tell when there is something to read.
type passer interface {
	Await() error
	Pass(io.Writer) (int64, error)
}

type passing struct{ passer }

func (p passing) wait() error { return p.Await() }

func (p passing) pass(write func([]byte) error) error {
	_, err := p.Pass(writer(write))
	return err
}

// writer is a function as an io.Writer.
type writer func([]byte) error

func (w writer) Write(b []byte) (int, error) {
	if err := w(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// plainSource is a connection that cannot tell when there is something to read.
type plainSource struct {
	from    io.Reader
	buffers *buffers
}

func (s *plainSource) wait() error { return nil }

// pass reads until the end. It holds a small buffer while it waits, and a large one while data comes faster than it is read.
func (s *plainSource) pass(write func([]byte) error) error {
	waiting := make([]byte, small)
	var buffer *[large]byte
	defer func() {
		if buffer != nil {
			s.buffers.give(buffer)
		}
	}()
	for {
		into := waiting
		if buffer != nil {
			into = buffer[:]
		}
		n, err := s.from.Read(into)
		if n > 0 {
			if err := write(into[:n]); err != nil {
				return err
			}
		}
		switch {
		case err != nil:
			return err
		case buffer == nil && n == len(into):
			buffer = s.buffers.take()
		case buffer != nil && n < small:
			s.buffers.give(buffer)
			buffer = nil
		}
	}
}
