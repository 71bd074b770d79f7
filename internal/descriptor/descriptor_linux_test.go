package descriptor

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// pipe returns the reading end of a pipe, and a function that writes to the other.
func pipe(t *testing.T) (d *Descriptor, write func()) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	d, err := New(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Close()
		unix.Close(fds[1])
	})
	return d, func() {
		if _, err := unix.Write(fds[1], []byte{1}); err != nil {
			t.Error(err)
		}
	}
}

func acquire(t *testing.T, d *Descriptor) (fd int) {
	t.Helper()
	fd, err := d.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestWait(t *testing.T) {
	d, write := pipe(t)
	fd := acquire(t, d)
	defer d.Release()
	var b [8]byte
	if _, err := unix.Read(fd, b[:]); err != unix.EAGAIN {
		t.Fatalf("the descriptor is not in non-blocking mode: %v", err)
	}
	go write()
	if err := d.Wait(unix.POLLIN); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(fd, b[:]); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// Close ends every wait, and closes the descriptor only when nobody uses it any more.
func TestCloseWhileWaiting(t *testing.T) {
	d, _ := pipe(t)
	ended := make(chan error)
	for range 3 {
		fd := acquire(t, d)
		go func() {
			err := d.Wait(unix.POLLIN)
			if _, open := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); open != nil {
				t.Errorf("closed while in use: %v", open)
			}
			d.Release()
			ended <- err
		}()
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := <-ended; !errors.Is(err, os.ErrClosed) {
			t.Errorf("Wait returned %v, want os.ErrClosed", err)
		}
	}
	if _, err := d.Acquire(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Acquire after Close: %v, want os.ErrClosed", err)
	}
	if err := d.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the second Close: %v, want os.ErrClosed", err)
	}
}

func TestBadDescriptor(t *testing.T) {
	if _, err := New(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("error %v, want EBADF", err)
	}
}

func TestNoAllocations(t *testing.T) {
	d, write := pipe(t)
	write()
	if n := testing.AllocsPerRun(100, func() {
		if _, err := d.Acquire(); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(unix.POLLIN); err != nil {
			t.Fatal(err)
		}
		d.Release()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
