package netcfg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// openClock returns a file that a Read of fails with ECANCELED as soon as the clock jumps, because the host has slept or
// the clock was set. A Read waits until then.
func openClock() (*os.File, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for jumps of the clock: %w", err)
	}
	// Nothing comes of the time at which the timer ends: it is about as late as a 32-bit system can say.
	end := unix.ItimerSpec{Value: unix.Timespec{Sec: math.MaxInt32}}
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &end, nil); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("watch for jumps of the clock: %w", err)
	}
	return os.NewFile(uintptr(fd), "clock"), nil
}

// watchClock turns jumps into events until ctx ends and the clock is closed.
func watchClock(ctx context.Context, clock io.Reader, events chan<- Change) {
	var expirations [8]byte
	for {
		_, err := clock.Read(expirations[:])
		switch {
		case err == nil: // the timer has ended, once; it still tells of jumps
		case !errors.Is(err, unix.ECANCELED):
			return
		default:
			select {
			case events <- Change{Resumed: true}:
			case <-ctx.Done():
				return
			}
		}
	}
}
