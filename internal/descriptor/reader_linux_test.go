package descriptor

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reader is a Reader of a pipe that nobody writes to, acquired.
func reader(t *testing.T) *Reader {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	acquire(t, r.Descriptor)
	t.Cleanup(func() {
		unix.Close(fds[1])
		if !t.Failed() { // else it may still be acquired, and Close would wait
			r.Close()
		}
	})
	return r
}

// sleeps reports whether Await sleeps: whether it sees that the Reader is closed meanwhile.
func sleeps(t *testing.T, r *Reader) bool {
	t.Helper()
	closed := make(chan error)
	awaited := make(chan error)
	go func() { awaited <- r.Await() }()
	select {
	case err := <-awaited:
		if err != nil {
			t.Fatal(err)
		}
		return false
	case <-time.After(50 * time.Millisecond):
	}
	go func() { closed <- r.Close() }()
	if err := <-awaited; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Await returned %v, want os.ErrClosed", err)
	}
	r.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	return true
}

func TestReaderGivesWayOnce(t *testing.T) {
	r := reader(t)
	r.last = time.Now().Add(time.Hour) // however slow this test is
	r.Arrived()
	if sleeps(t, r) {
		t.Fatal("it does not give way while input comes briskly")
	}
	if !sleeps(t, r) {
		t.Error("it gives way again and again")
	}
}

func TestReaderSleeps(t *testing.T) {
	for name, arrived := range map[string]bool{"at first": false, "after input that comes now and then": true} {
		t.Run(name, func(t *testing.T) {
			r := reader(t)
			if arrived {
				r.last = time.Now().Add(-time.Hour)
				r.Arrived()
			}
			if !sleeps(t, r) {
				t.Error("it gives way")
			}
		})
	}
}

func TestNewReaderFails(t *testing.T) {
	if r, err := NewReader(-1); err == nil {
		t.Errorf("got %v", r)
	}
}
