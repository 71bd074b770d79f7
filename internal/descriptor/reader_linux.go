package descriptor

import (
	"time"

	"golang.org/x/sys/unix"
)

// brisk is the time between arrivals below which more is taken to be under way.
const brisk = 200 * time.Microsecond

// Reader is a Descriptor that one goroutine at a time reads.
//
// While input comes briskly it gives way to other threads once before it sleeps. Where whoever makes the input has the same
// processor, there is more of it afterwards, and neither a sleep nor a wake-up was needed. Input that comes now and then
// does not wait for other threads.
type Reader struct {
	*Descriptor
	last   time.Time // when there was input
	giveUp bool      // do not give way
}

// NewReader takes over fd as New does.
func NewReader(fd int) (*Reader, error) {
	d, err := New(fd)
	if err != nil {
		return nil, err
	}
	return &Reader{Descriptor: d, giveUp: true}, nil
}

// Arrived is told that there was input.
func (r *Reader) Arrived() {
	now := time.Now()
	r.giveUp = now.Sub(r.last) > brisk
	r.last = now
}

// Await waits for input, between Acquire and Release, and may return before there is any. When Close is called it returns
// os.ErrClosed.
func (r *Reader) Await() error {
	if r.giveUp {
		return r.Wait(unix.POLLIN)
	}
	r.giveUp = true // it must be waited for if it is not there then
	// It has no way to fail.
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	return nil
}
