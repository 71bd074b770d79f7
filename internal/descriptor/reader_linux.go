package descriptor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// brisk is the time between two arrivals below which input counts as brisk.
	brisk = 200 * time.Microsecond
	// turn is how many arrivals in a row must contradict the way of waiting before it changes.
	turn = 8
)

// Reader is a Descriptor that one goroutine at a time reads. The way it waits depends on how fast input comes.
//
// For slow input it waits in the runtime's poller. A thread that slept in a system call of its own would have to be watched by the
// runtime's monitor thread, and would have to get a processor back from the runtime afterwards.
//
// The poller serves one goroutine after the other. So for brisk input the goroutine waits in a thread of its own. Before it sleeps
// it yields once to other threads: if the producer of the input runs on the same processor, there is input afterwards, and neither
// a sleep nor a wake-up was needed.
type Reader struct {
	*Descriptor
	try   func(fd int) bool
	epoll int                // readable when the descriptor is readable and not brisk, or when it is closed
	file  *os.File           // epoll as a file
	conn  syscall.RawConn    // epoll in the runtime's poller
	again func(uintptr) bool // what conn calls

	left  atomic.Bool // nothing more is to be read
	done  bool        // try had input or an error
	last  time.Time   // of the last input
	brisk bool
	odds  int // arrivals in a row that contradicted brisk
}

// NewReader takes over fd as New does. try reads fd without waiting, and reports whether there was input or an error.
func NewReader(fd int, try func(fd int) bool) (*Reader, error) {
	d, err := New(fd)
	if err != nil {
		return nil, err
	}
	r := &Reader{Descriptor: d, try: try}
	r.again = func(uintptr) bool {
		r.done = r.try(r.fd)
		return r.done || r.ended()
	}
	if err := r.watch(); err != nil {
		_ = unix.Close(d.wake) // nothing could be lost
		return nil, err
	}
	return r, nil
}

// watch makes the epoll instance, which the runtime's poller watches in place of the descriptor. The descriptor would wake up the
// poller for all output, and for all input while nobody waits.
func (r *Reader) watch() error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = errors.Join(
		unix.SetNonblock(epoll, true),
		unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, r.fd, &unix.EpollEvent{Events: unix.EPOLLIN}),
		unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, r.wake, &unix.EpollEvent{Events: unix.EPOLLIN}),
	)
	r.epoll, r.file = epoll, os.NewFile(uintptr(epoll), "epoll")
	if err == nil {
		r.conn, err = r.file.SyscallConn()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("watch a file descriptor: %w", err), r.file.Close())
	}
	return nil
}

// StopReading ends Read, now and from now on, as Close does. The descriptor stays open for other uses, of which this is to be one of the
// last: who waits for it does not sleep any more.
func (r *Reader) StopReading() error {
	r.left.Store(true)
	if _, err := r.Acquire(); err != nil {
		return err
	}
	defer r.Release()
	return r.wakeUp()
}

func (r *Reader) ended() bool { return r.left.Load() || r.closed.Load() }

// Read calls try, and waits until there is input or an error. It returns os.ErrClosed after Close or StopReading, or when one of them is
// called meanwhile.
func (r *Reader) Read() error {
	if _, err := r.Acquire(); err != nil {
		return err
	}
	defer r.Release()
	if r.left.Load() {
		return os.ErrClosed
	}
	if err := r.await(); err != nil {
		return err
	}
	now := time.Now()
	quick := now.Sub(r.last) <= brisk
	r.last = now
	if quick == r.brisk {
		r.odds = 0
	} else if r.odds++; r.odds == turn {
		r.setBrisk(quick)
	}
	return nil
}

func (r *Reader) await() error {
	if !r.brisk {
		return r.park()
	}
	if r.try(r.fd) {
		return nil
	}
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it cannot fail
	for !r.try(r.fd) {
		if err := r.Wait(unix.POLLIN); err != nil {
			return err
		}
		if r.left.Load() {
			return os.ErrClosed
		}
	}
	return nil
}

// park waits in the runtime's poller. Neither here nor on the path of a packet does a system call involve the runtime, which would
// wake up its monitor thread.
func (r *Reader) park() error {
	r.done = false
	err := r.conn.Read(r.again)
	if !r.done && r.ended() {
		return os.ErrClosed
	}
	return err
}

// setBrisk changes the way of waiting.
func (r *Reader) setBrisk(b bool) {
	r.brisk, r.odds = b, 0
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if b {
		event.Events = 0
	}
	// It cannot fail, as fd is in the epoll instance.
	_, _, _ = unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(r.epoll), unix.EPOLL_CTL_MOD, uintptr(r.fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	if b {
		runtime.Gosched() // this thread may be the poller, and will sleep: let another thread take over
	}
}

// Close closes the Reader as Descriptor.Close does.
func (r *Reader) Close() error {
	err := r.Descriptor.Close()
	if errors.Is(err, os.ErrClosed) {
		return err
	}
	return errors.Join(err, r.file.Close())
}
