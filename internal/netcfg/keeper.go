package netcfg

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"
)

const (
	restorePause     = time.Second     // least time from one restoration to the next
	restorePauseMost = 5 * time.Minute // and while each one is undone within the pause after it
)

// Keeper restores our interface when somebody has taken it down, or has removed an address or a route. When the restoration is undone
// each time, as a network manager may do, the keeper waits longer and longer. To keep the interface down, stop the program.
type Keeper struct {
	log       *slog.Logger
	restore   func(context.Context) (lost []string, err error)
	disturbed chan struct{}
}

// NewKeeper makes a keeper that Run starts. restore gives back what the interface has lost, and says what.
func NewKeeper(log *slog.Logger, restore func(context.Context) (lost []string, err error)) *Keeper {
	return &Keeper{log: log, restore: restore, disturbed: make(chan struct{}, 1)}
}

// Disturbed tells that something about the interface has changed. It does not wait.
func (k *Keeper) Disturbed() {
	select {
	case k.disturbed <- struct{}{}:
	default: // it is told already
	}
}

// Run restores the interface until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	var last time.Time // of the last restoration
	pause := restorePause
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.disturbed:
		}
		wait := time.Until(last.Add(pause))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		lost, err := k.restore(ctx)
		switch {
		case errors.Is(err, context.Canceled):
			return nil
		case err == nil && len(lost) == 0: // that was a change of our own
			continue
		}
		if last = time.Now(); wait > 0 {
			pause = min(2*pause, restorePauseMost)
		} else {
			pause = restorePause
		}
		if err != nil {
			k.log.Error("cannot restore the interface, trying again", "lost", strings.Join(lost, ", "), "error", err, "in", pause)
			k.Disturbed()
			continue
		}
		k.log.Warn("another program has changed the interface; it was restored", "restored", strings.Join(lost, ", "), "not_again_within", pause)
	}
}
