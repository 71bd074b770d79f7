package traffic

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/state"
)

// saveEvery is the time between two writes of the file: what a power cut loses at most.
const saveEvery = 5 * time.Minute

// Keeper keeps a history in a file.
type Keeper struct {
	path string
	read func() (Reading, error)
	log  *slog.Logger

	mu      sync.Mutex
	history History
	failing bool // the last reading has failed, as the log says
	ended   bool // there are no more readings
}

// NewKeeper goes on with the history in the file, if there is one.
func NewKeeper(path string, read func() (Reading, error), log *slog.Logger) *Keeper {
	k := &Keeper{path: path, read: read, log: log}
	if err := state.Load(path, &k.history); err != nil {
		k.history = History{}
		log.Warn("cannot read the history of this host's traffic; a new one begins", "error", err)
	}
	k.history.Check()
	return k
}

// Run keeps the history until ctx ends. It calls ended after the last reading, when the tunnel may go with its counters.
func (k *Keeper) Run(ctx context.Context, ended func()) error {
	ticks := time.NewTicker(saveEvery)
	defer ticks.Stop()
	for {
		k.take(time.Now())
		k.save()
		select {
		case <-ticks.C:
		case <-ctx.Done():
			k.take(time.Now())
			k.end()
			ended()
			k.save()
			return nil
		}
	}
}

// Report tells the history until now.
func (k *Keeper) Report() Report {
	now := time.Now()
	k.take(now)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.history.Report(now)
}

// take takes a reading. Where that fails the next one makes up for it.
func (k *Keeper) take(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ended {
		return
	}
	r, err := k.read()
	if err == nil {
		k.history.Take(now, r)
	} else if !k.failing {
		k.log.Warn("cannot read how much traffic this host has", "error", err)
	}
	k.failing = err != nil
}

func (k *Keeper) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended = true
}

// save writes the file. The disk may take its time, for which nobody else waits.
func (k *Keeper) save() {
	k.mu.Lock()
	h := k.history
	h.Days = slices.Clone(h.Days)
	k.mu.Unlock()
	if err := state.Save(k.path, &h); err != nil {
		k.log.Warn("cannot save the history of this host's traffic", "error", err)
	}
}
