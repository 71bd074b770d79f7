package netstack

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/waiter"
)

// half is one direction of an endpoint. One goroutine at a time holds it to do an operation, and waits with wait until it is worth
// trying that again: the stack is ready, the endpoint has ended, or the deadline has come or is another one.
type half struct {
	sync.Mutex
	entry waiter.Entry
	again chan struct{}

	timing sync.Mutex // guards what follows
	timer  *time.Timer
	passed bool // the deadline has
}

func (h *half) init(queue *waiter.Queue, events waiter.EventMask) {
	h.again = make(chan struct{}, 1)
	h.entry.Init(h, events|waiter.EventErr|waiter.EventHUp)
	queue.EventRegister(&h.entry)
}

// NotifyEvent implements waiter.EventListener.
func (h *half) NotifyEvent(waiter.EventMask) { h.wake() }

func (h *half) wake() {
	select {
	case h.again <- struct{}{}:
	default:
	}
}

func (h *half) wait() { <-h.again }

// setDeadline replaces the deadline, also that of an operation in progress. The zero time stands for none.
func (h *half) setDeadline(t time.Time) {
	h.timing.Lock()
	defer h.timing.Unlock()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	left := time.Until(t)
	h.passed = !t.IsZero() && left <= 0
	if !t.IsZero() && left > 0 {
		var timer *time.Timer
		timer = time.AfterFunc(left, func() { h.expire(timer) })
		h.timer = timer
	}
	h.wake()
}

// expire is called by a timer, which may be that of a deadline that has been replaced.
func (h *half) expire(timer *time.Timer) {
	h.timing.Lock()
	defer h.timing.Unlock()
	if h.timer == timer {
		h.passed = true
		h.wake()
	}
}

// expired reports whether the deadline has passed.
func (h *half) expired() bool {
	h.timing.Lock()
	defer h.timing.Unlock()
	return h.passed
}
