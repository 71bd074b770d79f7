package descriptor

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// reader is a Reader of a pipe, a function that writes a byte to the pipe, and how many bytes were read.
func reader(t *testing.T) (r *Reader, write func(), got *int) {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	got = new(int)
	r, err := NewReader(fds[0], func(fd int) bool {
		var b [1]byte
		n, err := unix.Read(fd, b[:])
		*got += max(n, 0)
		return err != unix.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fds[1]) })
	return r, func() {
		if _, err := unix.Write(fds[1], []byte{1}); err != nil {
			t.Error(err)
		}
	}, got
}

// end closes a reader.
func end(t *testing.T, r *Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
	if _, err := r.Acquire(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("acquired after Close: %v", err)
	}
	if err := r.Read(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// read reads input that counts as brisk, however slow this test is, or not.
func read(t *testing.T, r *Reader, brisk bool) {
	t.Helper()
	r.last = time.Now().Add(-time.Hour)
	if brisk {
		r.last = time.Now().Add(time.Hour)
	}
	if err := r.Read(); err != nil {
		t.Fatal(err)
	}
}

// become has a Reader change its way of waiting.
func become(t *testing.T, r *Reader, write func(), brisk bool) {
	t.Helper()
	for n := 0; r.brisk != brisk; n++ {
		if n == turn {
			t.Fatalf("brisk is still %v after %d arrivals", r.brisk, n)
		}
		write()
		read(t, r, brisk)
	}
}

// Input is read in either way of waiting, and after each change between them, whether it is there before or comes later.
func TestReaderReads(t *testing.T) {
	r, write, got := reader(t)
	defer end(t, r)
	for _, brisk := range []bool{false, true, false, true} {
		become(t, r, write, brisk)
		for _, early := range []bool{true, false, true, false} {
			before := *got
			if early {
				write()
			} else {
				time.AfterFunc(2*time.Millisecond, write)
			}
			read(t, r, brisk)
			if *got != before+1 {
				t.Fatalf("brisk %v: read %d bytes, want 1", brisk, *got-before)
			}
		}
	}
}

// A few arrivals that are at odds with the way of waiting don't change it.
func TestReaderIsSteady(t *testing.T) {
	r, write, _ := reader(t)
	defer end(t, r)
	for _, brisk := range []bool{false, true} {
		become(t, r, write, brisk)
		for n := range 5 * turn {
			write()
			read(t, r, brisk == (n%turn == 0))
			if r.brisk != brisk {
				t.Fatalf("brisk %v after %d arrivals", r.brisk, n)
			}
		}
	}
}

// Close ends a wait of either kind.
func TestReaderCloses(t *testing.T) {
	for name, brisk := range map[string]bool{"now and then": false, "brisk": true} {
		t.Run(name, func(t *testing.T) {
			r, write, _ := reader(t)
			become(t, r, write, brisk)
			waited := make(chan error, 1)
			go func() { waited <- r.Read() }()
			time.Sleep(20 * time.Millisecond)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := <-waited; !errors.Is(err, os.ErrClosed) {
				t.Errorf("the wait ended with %v", err)
			}
		})
	}
}

// What arrives while nobody waits for it, and input comes briskly, does not wake up the runtime's poller.
func TestReaderDisarms(t *testing.T) {
	r, write, _ := reader(t)
	defer end(t, r)
	for _, brisk := range []bool{false, true, false} {
		become(t, r, write, brisk)
		write()
		fds := []unix.PollFd{{Fd: int32(r.epoll), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, 0); err != nil || (n == 1) != !brisk {
			t.Errorf("brisk %v: %d events, %v", brisk, n, err)
		}
		read(t, r, brisk)
	}
}

func TestReaderAllocatesNothing(t *testing.T) {
	r, write, _ := reader(t)
	defer end(t, r)
	n := 0
	if allocations := testing.AllocsPerRun(100, func() {
		n++
		write()
		read(t, r, n/turn%2 == 0)
	}); allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}

func TestNewReaderFails(t *testing.T) {
	never := func(int) bool { return true }
	if r, err := NewReader(-1, never); err == nil {
		t.Errorf("a descriptor that is not open: %v", r)
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if r, err := NewReader(int(file.Fd()), never); err == nil {
		t.Errorf("a file, which cannot be waited for: %v", r)
	}
}
