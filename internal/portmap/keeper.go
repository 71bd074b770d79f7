package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/mapport"
)

const (
	// A mapping is renewed after half its lifetime. A lifetime longer than longestLease counts as longestLease, because a
	// gateway that restarts forgets all mappings. A shorter one than shortestLease counts as shortestLease.
	longestLease  = time.Hour
	shortestLease = time.Minute
	soonestRetry  = shortestLease / 2 // after a failure
	latestRetry   = 10 * time.Minute  // after many
	// clockCheck bounds waits: while the host is suspended, timers stand still and leases run out.
	clockCheck = time.Minute
)

// Keeper keeps one port mapped. Make it with NewKeeper.
type Keeper struct {
	route     func(server netip.Addr) (gateway netip.Addr, ok bool)
	log       *slog.Logger
	journal   *journal
	protocols []protocol
	timeouts  timeouts
	silent    bool // the log says already that there is no mapping
}

// NewKeeper makes a keeper. route finds the router toward an IPv4 address. The file lists the mappings that this run has made
// and those that an earlier run could not remove.
func NewKeeper(route func(server netip.Addr) (gateway netip.Addr, ok bool), file string, log *slog.Logger) *Keeper {
	l, err := openJournal(file)
	if err != nil {
		log.Warn("cannot tell whether an earlier run has left a port mapping", "error", err)
	}
	return &Keeper{route: route, log: log, journal: l, protocols: protocols(), timeouts: usualTimeouts()}
}

// holding is the mapping that exists.
type holding struct {
	service service // nil: there is none
	mapping Mapping
	until   time.Time     // its end
	due     time.Time     // when to ask the gateway next
	pause   time.Duration // until then, when there is no mapping
}

// Keep has the gateway toward the server map a UDP port to the local one until ctx ends, and removes the mapping then, for
// which it takes little more than a second at most. It calls Changed with the first result, about 3 s later at most, and
// with every other one: the zero AddrPort when there is no mapping (RFC 6081 §5.3.3, §5.3.5).
//
// Mappings of earlier runs are removed first (RFC 6081 §5.3.3). Only one Keep may run at a time.
func (k *Keeper) Keep(ctx context.Context, r mapport.Request) {
	g := gateway{internal: r.Local}
	rand.Read(g.nonce[:]) // never fails
	var h holding
	for first := true; ; first = false {
		was := h.mapping
		k.step(ctx, r.Server, g, &h)
		if ctx.Err() == nil && (first || h.mapping.External != was.External || h.mapping.Protocol != was.Protocol) {
			r.Changed(h.mapping.External, h.mapping.Protocol)
		}
		if !sleep(ctx, h.due) {
			break
		}
	}
	if h.service == nil {
		return
	}
	if made := h.service.record(); k.atHome(r.Server, made) {
		k.remove(context.WithoutCancel(ctx), h.service, made)
	}
}

// atHome reports whether the host is still behind the gateway that has the mapping.
func (k *Keeper) atHome(server netip.Addr, r record) bool {
	addr, ok := k.route(server)
	return ok && addr == r.Gateway
}

// step renews the mapping, or makes one.
func (k *Keeper) step(ctx context.Context, server netip.Addr, g gateway, h *holding) {
	if h.service != nil && k.atHome(server, h.service.record()) {
		m, err := k.again(ctx, h.service)
		if err == nil {
			h.renew(m)
			return
		}
		k.log.Debug("cannot renew the port mapping, looking for the gateway again", "error", err)
	}
	by, m, err := k.makeToward(ctx, server, g)
	switch {
	case err == nil:
		h.service = by
		h.renew(m)
		k.silent = false
		k.log.Info("the gateway maps a port to this host", "protocol", m.Protocol, "external", m.External)
	case ctx.Err() == nil:
		if h.service != nil && !k.journal.has(h.service.record()) { // not silence: the gateway has refused it or given it up
			*h = holding{}
		}
		h.failed()
		k.report(err)
	}
}

// again renews the mapping.
func (k *Keeper) again(ctx context.Context, by service) (Mapping, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeouts.attempt)
	defer cancel()
	return by.add(ctx)
}

// makeToward makes a mapping at the present gateway.
func (k *Keeper) makeToward(ctx context.Context, server netip.Addr, g gateway) (by service, m Mapping, err error) {
	var ok bool
	if g.addr, ok = k.route(server); !ok {
		return nil, Mapping{}, fmt.Errorf("no router leads to %v", server)
	}
	return k.make(ctx, g)
}

// renew notes the mapping that the gateway has just made or confirmed.
func (h *holding) renew(m Mapping) {
	lasts := m.Lease
	if lasts == 0 {
		lasts = longestLease
	}
	lasts = min(max(lasts, shortestLease), longestLease)
	now := wallClock()
	h.mapping, h.until, h.due, h.pause = m, now.Add(lasts), now.Add(lasts/2), 0
}

// failed notes that the gateway made no mapping, or did not confirm one. An unconfirmed mapping counts until its lifetime is
// over.
func (h *holding) failed() {
	now := wallClock()
	left := h.until.Sub(now)
	if h.service == nil || left < soonestRetry {
		pause := min(max(2*h.pause, soonestRetry), latestRetry)
		*h = holding{due: now.Add(pause), pause: pause}
		return
	}
	h.due = now.Add(max(left/2, soonestRetry))
}

// report logs that there is no mapping: the first time at level info, with what a person needs, and otherwise at level debug.
func (k *Keeper) report(err error) {
	level := slog.LevelDebug
	if !k.silent {
		level = slog.LevelInfo
	}
	k.silent = true
	ctx := context.Background()
	if refused, ok := errors.AsType[refusal](err); ok {
		k.log.Log(ctx, level, "the gateway refuses to map a port", "reason", refused.reason)
	} else {
		k.log.Log(ctx, level, "no gateway here maps ports")
	}
	k.log.Debug("no port mapping", "details", err)
}

// sleep waits until the wall clock shows the time until. It reports false when ctx ended before. It does not wait longer when
// the clock is set back.
func sleep(ctx context.Context, until time.Time) bool {
	for {
		left := until.Sub(wallClock())
		if left <= 0 || left > longestLease {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, clockCheck)):
		}
	}
}

// wallClock is the time without the monotonic reading, which stands still while the host sleeps.
func wallClock() time.Time { return time.Now().Round(0) }
