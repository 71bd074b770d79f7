package netcfg

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// reader stands in for the timer: each Read has the next result.
type reader <-chan error

func (r reader) Read(b []byte) (int, error) {
	err, ok := <-r
	switch {
	case !ok:
		return 0, os.ErrClosed
	case err != nil:
		return 0, &fs.PathError{Op: "read", Path: "clock", Err: err}
	}
	return len(b), nil
}

// Suspend and resume, and a clock that is set, are changes. Tests leave the clock of the machine alone.
func TestWatchClock(t *testing.T) {
	results, events := make(chan error), make(chan Change)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watchClock(t.Context(), reader(results), events)
	}()
	for range 3 {
		results <- unix.ECANCELED
		if c, want := next(t, events), (Change{Resumed: true}); c != want {
			t.Errorf("%+v, want %+v", c, want)
		}
		results <- nil // the timer ends: no jump
	}
	close(results)
	<-ended
}

func TestWatchClockEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	results, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		watchClock(ctx, reader(results), make(chan Change)) // which nobody receives from
	}()
	results <- unix.ECANCELED
	cancel()
	<-ended
}

// The kernel's timer does not end by itself, and a Read of it ends when it is closed.
func TestOpenClock(t *testing.T) {
	clock, err := openClock()
	must(t, err)
	raw, err := clock.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		var setting unix.ItimerSpec
		if err := unix.TimerfdGettime(int(fd), &setting); err != nil || setting.Value.Sec < 3600 {
			t.Errorf("the timer ends in %d s, %v", setting.Value.Sec, err)
		}
	}))
	read := make(chan error)
	go func() {
		_, err := clock.Read(make([]byte, 8))
		read <- err
	}()
	must(t, clock.Close())
	if err := <-read; !errors.Is(err, os.ErrClosed) {
		t.Errorf("a Read of a closed clock: %v", err)
	}
}
