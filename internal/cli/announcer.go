package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/succession"
)

// overloadOf is the beginning of the name under which an announcer gives what it knows of overloads.
const overloadOf = "overload "

// Announcer keeps a service announced while it serves, and withdrawn otherwise.
type Announcer struct {
	log    *slog.Logger
	what   string // is announced, for the log
	change func(announced bool) error
	load   func(context.Context) (announce.Load, error)

	mu      sync.Mutex
	machine *announce.Machine
	why     announce.Reason // of the present state, which change has made
	fault   string          // why change has failed last; empty: it has not
}

// NewAnnouncer makes an announcer of what the log calls what. change announces and withdraws it. load tells its load; an error means
// that it is not known.
func NewAnnouncer(log *slog.Logger, what string, f DrainFlags, change func(announced bool) error, load func(context.Context) (announce.Load, error)) *Announcer {
	return &Announcer{
		log: log, what: what, change: change, load: load, machine: announce.New(f.DrainIdle, f.DrainTime), why: announce.Starting,
	}
}

// Ready announces the service.
func (a *Announcer) Ready() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machine.Ready()
	a.follow()
}

// giveTo tells a new process what this one knows of overloads.
func (a *Announcer) giveTo(g *succession.Giver) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g.Data(overloadOf+a.what, a.machine.Overload())
}

// inherit goes on with what the process before knew of overloads, so that its routes do not come back for a moment.
func (a *Announcer) inherit(h *succession.Inheritance) {
	var o announce.Overload
	if h.Data(overloadOf+a.what, &o) {
		a.machine.Resume(o)
	}
}

// drain withdraws the service for good.
func (a *Announcer) drain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.machine.Drain(time.Now())
	a.follow()
}

// look takes notice of the load. It reports whether the service has drained.
func (a *Announcer) look(ctx context.Context) (drained bool) {
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	load, err := a.load(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if err == nil {
		a.machine.Observe(now, load)
	}
	a.follow()
	return a.machine.Drained(now)
}

// follow does what the machine has decided. What fails is tried again the next time.
func (a *Announcer) follow() {
	why := a.machine.Withdrawn()
	if why == a.why {
		return
	}
	if announced := why == ""; announced != (a.why == "") {
		err := a.change(announced)
		if err != nil {
			if err.Error() != a.fault {
				a.log.Error("cannot change what is announced, trying again", "what", a.what, "announce", announced, "error", err)
			}
			a.fault = err.Error()
			return
		}
		a.fault = ""
	}
	a.why = why
	if why == "" {
		a.log.Info("announced", "what", a.what)
	} else {
		a.log.Warn("withdrawn: packets that still come are served, and no more are invited", "what", a.what, "reason", why)
	}
}

// Status describes the announcement now.
func (a *Announcer) Status() announce.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.machine.Status(time.Now())
	s.Announced = a.why == "" // as it has been done
	return s
}
