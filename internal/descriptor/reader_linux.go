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
	// brisk is the longest wait for input that counts as brisk.
	brisk = 200 * time.Microsecond
	// turn is how many waits in a row must contradict the way of waiting before it changes, without a place.
	turn = 8
	// linger is how long a goroutine waits in its place.
	linger = 50 * time.Millisecond
)

// Reader is a Descriptor that one goroutine at a time reads. The way it waits depends on how fast input comes.
//
// For input after a long pause it waits in the runtime's poller, which costs nothing meanwhile.
//
// The poller takes its time, and serves one goroutine after the other. So a goroutine that waits for more input soon waits on
// a thread of its own. If one of the places is free, the runtime does not get to know that the thread sleeps. The thread then
// has a processor of the runtime when it wakes up. It leaves the place after linger, because the runtime's monitor thread runs
// as long as a place is taken. If no place is free, a goroutine waits on a thread only for brisk input: for slow input the
// monitor thread would take the processor away each time, and the poller would be as fast.
//
// For brisk input a thread yields once to others before it sleeps. If the producer of the input runs on the same processor,
// there is input afterwards, and neither a sleep nor a wake-up was needed.
type Reader struct {
	*Descriptor
	try   func(fd int) bool
	epoll int                // readable when the descriptor is readable and thread is false, or when it is closed
	file  *os.File           // epoll as a file
	conn  syscall.RawConn    // epoll in the runtime's poller
	again func(uintptr) bool // what conn calls

	follower atomic.Pointer[follower]

	left   atomic.Bool   // nothing more is to be read
	done   bool          // try had input or an error
	began  time.Time     // of the last wait
	waited time.Duration // how long that took
	thread bool          // wait on a thread
	place  bool          // in one of the places
	odds   int           // waits in a row that contradicted thread
}

// NewReader takes over fd as New does. try reads fd without waiting, and reports whether there was input or an error.
func NewReader(fd int, try func(fd int) bool) (*Reader, error) {
	d, err := New(fd)
	if err != nil {
		return nil, err
	}
	r := &Reader{Descriptor: d, try: try}
	r.again = func(uintptr) bool {
		r.done = r.attempt()
		return r.done || r.ended()
	}
	if err := r.watch(); err != nil {
		_ = unix.Close(d.wake) // nothing could be lost
		return nil, err
	}
	return r, nil
}

// follower is who wants to know when everything is read and done with.
type follower struct {
	latest func() uint64
	done   func(uint64)
	before uint64 // the latest input when the reader last looked
}

// Follow has the Reader call done each time that it finds no input. Input counts as done with once Read is called again. latest returns
// the number of the latest input, which may still be on its way to the descriptor. So done gets the number from the look before:
// that input has arrived since. The goroutine that reads calls both.
func (r *Reader) Follow(latest func() uint64, done func(uint64)) {
	r.follower.Store(&follower{latest: latest, done: done})
}

// look calls try.
func (r *Reader) look() bool {
	f := r.follower.Load()
	if f == nil {
		return r.try(r.fd)
	}
	arrived := f.before
	f.before = f.latest()
	if r.try(r.fd) {
		return true
	}
	f.done(arrived)
	return false
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
	r.adapt()
	return nil
}

func (r *Reader) await() error {
	if r.thread && r.waited <= brisk {
		if r.look() {
			return nil
		}
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // it cannot fail
		if r.look() {
			return nil
		}
	}
	r.began = time.Now()
	for r.thread {
		if r.place {
			r.hold()
		} else if err := r.Wait(unix.POLLIN); err != nil {
			return err
		}
		if r.ended() {
			return os.ErrClosed
		}
		if r.attempt() {
			return nil
		}
		if r.place && r.waited >= linger {
			r.leavePlace()
			r.setThread(false)
		}
	}
	return r.park()
}

// attempt calls try during a wait.
func (r *Reader) attempt() bool {
	r.waited = time.Since(r.began)
	return r.look()
}

// hold waits in the place, at most for linger. The runtime's signals end the wait as well. They come every 10 ms, and when the
// garbage collector is to stop the goroutine, which can then be stopped.
func (r *Reader) hold() {
	fds := [2]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.wake), Events: unix.POLLIN}}
	timeout := unix.NsecToTimespec(int64(linger))
	// What ended the wait shows by the attempt that follows.
	_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), uintptr(len(fds)), uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
}

// adapt changes the way of waiting if the last wait calls for that.
func (r *Reader) adapt() {
	quick := r.waited <= brisk
	switch {
	case r.place:
	case !r.thread && r.waited <= linger && takePlace():
		r.place = true
		r.setThread(true)
	case quick == r.thread:
		r.odds = 0
	default:
		if r.odds++; r.odds == turn {
			r.setThread(quick)
		}
	}
}

func takePlace() bool {
	if places.Add(-1) >= 0 {
		return true
	}
	places.Add(1)
	return false
}

func (r *Reader) leavePlace() {
	if r.place {
		r.place = false
		places.Add(1)
	}
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

// setThread changes the way of waiting.
func (r *Reader) setThread(b bool) {
	r.thread, r.odds = b, 0
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
	r.leavePlace() // nobody reads any more
	return errors.Join(err, r.file.Close())
}
