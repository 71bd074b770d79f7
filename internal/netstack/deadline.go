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

	timing    sync.Mutex // guards what follows
	timer     *time.Timer
	deadlines uint // that have been set
	passed    bool // the latest has
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
	h.deadlines++
	left := time.Until(t)
	h.passed = !t.IsZero() && left <= 0
	if !t.IsZero() && left > 0 {
		number := h.deadlines
		h.timer = time.AfterFunc(left, func() { h.expire(number) })
	}
	h.wake()
}

// expire is called when the time of a deadline has come, which may have been replaced.
func (h *half) expire(number uint) {
	h.timing.Lock()
	defer h.timing.Unlock()
	if h.deadlines == number {
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
