package descriptor

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// brisk is the time between arrivals below which more is taken to be under way.
	brisk = 200 * time.Microsecond
	// turn is how many arrivals in a row have to be at odds with the way of waiting until that changes.
	turn = 8
)

// Reader is a Descriptor that one goroutine at a time reads. How it waits for input depends on how that comes.
//
// Input that comes now and then is waited for by the runtime's poller. A thread that slept in a system call of its own would
// have to get a processor back from the runtime, whose monitor thread would have to watch it.
//
// The poller serves one goroutine after the other. So while input comes briskly, the goroutine has a thread of its own, and
// gives way to other threads once before it sleeps: where whoever makes the input has the same processor, there is more of
// it afterwards, and neither a sleep nor a wake-up was needed.
type Reader struct {
	*Descriptor
	try   func(fd int) bool
	epoll int                // readable when the descriptor is, but not while it is brisk; and when that is closed
	file  *os.File           // of epoll
	conn  syscall.RawConn    // of epoll, with the runtime's poller
	again func(uintptr) bool // what that calls

	done  bool      // try came to something
	last  time.Time // when there was input
	brisk bool
	odds  int // arrivals in a row that were at odds with brisk
}

// NewReader takes over fd as New does. try reads fd without waiting, and reports whether that has come to anything: input or
// an error.
func NewReader(fd int, try func(fd int) bool) (*Reader, error) {
	d, err := New(fd)
	if err != nil {
		return nil, err
	}
	r := &Reader{Descriptor: d, try: try}
	r.again = func(uintptr) bool {
		r.done = r.try(r.fd)
		return r.done || r.closed.Load()
	}
	if err := r.watch(); err != nil {
		// Nothing was waited for yet.
		_ = unix.Close(d.wake)
		return nil, err
	}
	return r, nil
}

// watch makes the epoll instance. The runtime's poller watches that, and not the descriptor, which would wake it up for
// whatever is sent and for every arrival while nobody waits.
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

// Read calls try and waits until it comes to something. After Close, or when that is called meanwhile, it returns
// os.ErrClosed.
func (r *Reader) Read() error {
	if _, err := r.Acquire(); err != nil {
		return err
	}
	defer r.Release()
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
	// It has no way to fail.
	_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	for !r.try(r.fd) {
		if err := r.Wait(unix.POLLIN); err != nil {
			return err
		}
	}
	return nil
}

// park lets the runtime's poller wait. No system call is one here, nor on the way of a packet, that the runtime takes part
// in: it would wake up its monitor thread for that.
func (r *Reader) park() error {
	r.done = false
	err := r.conn.Read(r.again)
	if !r.done && r.closed.Load() {
		return os.ErrClosed
	}
	return err
}

// setBrisk sets how to wait from now on.
func (r *Reader) setBrisk(b bool) {
	r.brisk, r.odds = b, 0
	event := unix.EpollEvent{Events: unix.EPOLLIN}
	if b {
		event.Events = 0
	}
	// It has no way to fail: fd is in there.
	_, _, _ = unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(r.epoll), unix.EPOLL_CTL_MOD, uintptr(r.fd), uintptr(unsafe.Pointer(&event)), 0, 0)
	if b {
		// The thread that this goroutine has may be the poller's, which another one has to be now.
		runtime.Gosched()
	}
}

// Close is that of Descriptor.
func (r *Reader) Close() error {
	err := r.Descriptor.Close()
	if errors.Is(err, os.ErrClosed) {
		return err
	}
	return errors.Join(err, r.file.Close())
}
