package natsim

import (
	"bytes"
	"cmp"
	"container/heap"
	"sync"
	"time"
)

// clock makes the simulation deterministic. Its goroutine owns all networks, links and NATs, and does one thing at a time:
// carry out one request of a program or of the scenario, or run the next event. After each it waits until every other
// goroutine has come to rest. Programs that want something at the same instant are served in the order of their numbers,
// whatever order the scheduler ran them in.
type clock struct {
	mu       sync.Mutex
	requests []*request
	wake     chan struct{} // says that there is a request
	stop     chan struct{}
	stopped  chan struct{}
	rest     func() // waits until every other goroutine has come to rest

	// Of the clock's goroutine.
	events  events
	count   uint64 // of events ever made
	waiters []*waiter
}

// request is something that another goroutine wants done, and waits for.
type request struct {
	who  int    // lower numbers go first
	what []byte // tells requests of one program's goroutines apart
	do   func()
	done chan struct{}
}

// event is something that happens by itself at its time.
type event struct {
	at    time.Time
	order uint64
	run   func()
}

// waiter waits for a condition, or the end of its time.
type waiter struct {
	met  func() bool
	ok   bool // the condition was met
	over bool // the time has ended
	done chan struct{}
}

func newClock(rest func()) *clock {
	return &clock{rest: rest, wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{})}
}

// do has the clock run f when everything is at rest, and waits for it. It must not be called by the clock's goroutine. It
// reports false when the clock has stopped.
func (c *clock) do(who int, what []byte, f func()) bool {
	r := &request{who: who, what: what, do: f, done: make(chan struct{})}
	c.mu.Lock()
	c.requests = append(c.requests, r)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	select {
	case <-r.done:
		return true
	case <-c.stopped:
		return false
	}
}

// after has f run when the time has passed. Only the clock's goroutine calls it.
func (c *clock) after(d time.Duration, f func()) {
	c.count++
	heap.Push(&c.events, &event{at: time.Now().Add(d), order: c.count, run: f})
}

// await waits until the condition is met, at most for the given time, and reports whether it was. The clock's goroutine
// looks at the condition when all that happens at an instant has happened.
func (c *clock) await(within time.Duration, met func() bool) bool {
	w := &waiter{met: met, done: make(chan struct{})}
	c.do(0, nil, func() {
		c.waiters = append(c.waiters, w)
		c.after(within, func() { w.over = true })
	})
	select {
	case <-w.done:
	case <-c.stopped:
	}
	return w.ok
}

func (c *clock) run() {
	defer close(c.stopped)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		c.rest()
		if r := c.nextRequest(); r != nil {
			r.do()
			close(r.done)
			continue
		}
		if len(c.events) > 0 && !c.events[0].at.After(time.Now()) {
			heap.Pop(&c.events).(*event).run()
			continue
		}
		if c.tellWaiters() {
			continue
		}
		timer.Stop()
		if len(c.events) > 0 {
			timer.Reset(time.Until(c.events[0].at))
		}
		select {
		case <-c.wake:
		case <-timer.C:
		case <-c.stop:
			return
		}
	}
}

// nextRequest takes the request that comes first. Goroutines of one program that ask at the same instant are ordered by
// what they ask, and wait for each other: whatever a goroutine asks next comes later.
func (c *clock) nextRequest() *request {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.requests) == 0 {
		return nil
	}
	first := 0
	for i, r := range c.requests {
		f := c.requests[first]
		if cmp.Or(cmp.Compare(r.who, f.who), bytes.Compare(r.what, f.what)) < 0 {
			first = i
		}
	}
	r := c.requests[first]
	c.requests = append(c.requests[:first], c.requests[first+1:]...)
	return r
}

// tellWaiters lets the first waiter go whose condition is met or whose time is over.
func (c *clock) tellWaiters() bool {
	for i, w := range c.waiters {
		if w.ok = w.met(); w.ok || w.over {
			c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			close(w.done)
			return true
		}
	}
	return false
}

func (c *clock) close() {
	close(c.stop)
	<-c.stopped
}

// events orders by time, and events of one instant as they were made, for container/heap.
type events []*event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	if !e[i].at.Equal(e[j].at) {
		return e[i].at.Before(e[j].at)
	}
	return e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return last
}
