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

// read reads input after a wait that counts as brisk, however slow this test is, or not.
func read(t *testing.T, r *Reader, quick bool) {
	t.Helper()
	if _, err := r.Acquire(); err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if err := r.await(); err != nil {
		t.Fatal(err)
	}
	r.waited = time.Hour
	if quick {
		r.waited = 0
	}
	r.adapt()
}

// become has a Reader change its way of waiting.
func become(t *testing.T, r *Reader, write func(), brisk bool) {
	t.Helper()
	for n := 0; r.thread != brisk; n++ {
		if n == turn {
			t.Fatalf("brisk is still %v after %d arrivals", r.thread, n)
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
		readByTurns(t, r, write, got, func(bool) bool { return brisk })
	}
}

// readByTurns reads input that is there before, and input that comes later. quick says how it counts.
func readByTurns(t *testing.T, r *Reader, write func(), got *int, quick func(early bool) bool) {
	t.Helper()
	for _, early := range []bool{true, false, true, false} {
		before := *got
		if early {
			write()
		} else {
			time.AfterFunc(2*time.Millisecond, write)
		}
		read(t, r, quick(early))
		if *got != before+1 {
			t.Fatalf("thread %v: read %d bytes, want 1", r.thread, *got-before)
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
			if r.thread != brisk {
				t.Fatalf("brisk %v after %d arrivals", r.thread, n)
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

// havePlace lets one reader at a time wait in a place.
func havePlace(t *testing.T) {
	t.Helper()
	AddPlaces(1)
	t.Cleanup(func() {
		if left := places.Add(-1); left != 0 {
			t.Errorf("%d places are left, want 0", left)
		}
	})
}

// hold has a reader take a place.
func hold(t *testing.T, r *Reader, write func()) {
	t.Helper()
	write()
	read(t, r, true)
	if !r.place || !r.thread || places.Load() != 0 {
		t.Fatalf("place %v, thread %v, and %d places are free", r.place, r.thread, places.Load())
	}
}

// A reader with a place reads as one without.
func TestPlaceReads(t *testing.T) {
	havePlace(t)
	r, write, got := reader(t)
	defer end(t, r)
	hold(t, r, write)
	readByTurns(t, r, write, got, func(early bool) bool { return early })
}

// Who finds no free place waits without one, and gets it when the other one has closed.
func TestPlacesAreLimited(t *testing.T) {
	havePlace(t)
	first, write, _ := reader(t)
	hold(t, first, write)
	second, write, _ := reader(t)
	defer end(t, second)
	write()
	read(t, second, true)
	if second.place || second.thread {
		t.Fatalf("place %v, thread %v", second.place, second.thread)
	}
	end(t, first)
	hold(t, second, write)
}

// A pause ends the wait in a place, and not the wait for input.
func TestPlaceIsLeft(t *testing.T) {
	havePlace(t)
	r, write, got := reader(t)
	defer end(t, r)
	hold(t, r, write)
	before, waited := *got, make(chan error)
	go func() { waited <- r.Read() }()
	for places.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	write()
	if err := <-waited; err != nil || *got != before+1 {
		t.Errorf("read %d bytes, want 1; %v", *got-before, err)
	}
}

// Close and StopReading end a wait in a place.
func TestPlaceCloses(t *testing.T) {
	for name, stop := range map[string]func(*Reader) error{"Close": (*Reader).Close, "StopReading": (*Reader).StopReading} {
		t.Run(name, func(t *testing.T) {
			havePlace(t)
			r, write, _ := reader(t)
			hold(t, r, write)
			waited := make(chan error, 1)
			go func() { waited <- r.Read() }()
			if err := stop(r); err != nil {
				t.Error(err)
			}
			if err := <-waited; !errors.Is(err, os.ErrClosed) {
				t.Errorf("the wait ended with %v", err)
			}
			if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		})
	}
}

func TestPlaceAllocatesNothing(t *testing.T) {
	havePlace(t)
	r, write, _ := reader(t)
	defer end(t, r)
	hold(t, r, write)
	n := 0
	if allocations := testing.AllocsPerRun(100, func() {
		n++
		write()
		read(t, r, n%2 == 0)
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
