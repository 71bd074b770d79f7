package descriptor

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Descriptor is a file descriptor in non-blocking mode. Any number of goroutines may use it at once.
type Descriptor struct {
	fd, wake int // wake is an eventfd, readable once Close was called
	closed   atomic.Bool
	users    sync.RWMutex // held for reading while fd is in use
}

// New takes over fd, which must not be known to the runtime's poller. After an error the caller still owns fd.
func New(fd int) (*Descriptor, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	return &Descriptor{fd: fd, wake: wake}, nil
}

// Acquire returns the file descriptor, which stays open until Release. After Close the error is os.ErrClosed.
func (d *Descriptor) Acquire() (fd int, err error) {
	d.users.RLock()
	if d.closed.Load() {
		d.users.RUnlock()
		return -1, os.ErrClosed
	}
	return d.fd, nil
}

// Release ends the use that Acquire began.
func (d *Descriptor) Release() { d.users.RUnlock() }

// Share calls use with the file descriptor, which stays open meanwhile.
func (d *Descriptor) Share(use func(fd int) error) error {
	fd, err := d.Acquire()
	if err != nil {
		return err
	}
	defer d.Release()
	return use(fd)
}

// Wait waits for events (POLLIN, POLLOUT) or an error condition of the file descriptor, between Acquire and Release.
// When Close is called it returns os.ErrClosed.
func (d *Descriptor) Wait(events int16) error {
	fds := [2]unix.PollFd{{Fd: int32(d.fd), Events: events}, {Fd: int32(d.wake), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds[:], -1)
		switch {
		case d.closed.Load():
			return os.ErrClosed
		case err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		}
		return nil
	}
}

// Close ends all waits, waits until all users have released the file descriptor, and closes it. Further calls return os.ErrClosed.
func (d *Descriptor) Close() error {
	if d.closed.Swap(true) {
		return os.ErrClosed
	}
	if err := d.wakeUp(); err != nil {
		return err
	}
	d.users.Lock()
	defer d.users.Unlock()
	_ = unix.Close(d.wake) // nothing could be lost
	return os.NewSyscallError("close", unix.Close(d.fd))
}

// wakeUp ends all waits.
func (d *Descriptor) wakeUp() error {
	one := [8]byte{1, 1, 1, 1, 1, 1, 1, 1} // not zero in any byte order
	if _, err := unix.Write(d.wake, one[:]); err != nil {
		return fmt.Errorf("wake up users: %w", err)
	}
	return nil
}
