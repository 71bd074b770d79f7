package dnsupdate

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	attemptTime = 10 * time.Second // for one update with its look-ups
	firstRetry  = 5 * time.Second
	lastRetry   = 5 * time.Minute // the wait doubles up to this
	mostTried   = 8               // addresses that are removed in the end, as the name may have one of them
)

// Keeper keeps the record of one name.
type Keeper struct {
	name    string // fully qualified
	find    Finder
	log     *slog.Logger
	changed chan struct{} // holds one when want may have changed

	mu     sync.Mutex
	key    Key
	want   netip.Addr // what the record should be; zero: none
	status Status
}

// Status describes the record.
type Status struct {
	Name      string     `json:"name"`
	Address   netip.Addr `json:"address"`          // what the name server has been told last; zero: that there is none
	Updated   time.Time  `json:"updated,omitzero"` // when
	LastError string     `json:"last_error"`       // why it has not been told what is wanted now
}

// NewKeeper makes a keeper that Run starts. Find is the Finder, but for tests.
func NewKeeper(name string, key Key, find Finder, log *slog.Logger) *Keeper {
	name = dns.CanonicalName(name)
	return &Keeper{name: name, key: key, find: find, log: log, changed: make(chan struct{}, 1), status: Status{Name: strings.TrimSuffix(name, ".")}}
}

// Set tells the address that the name should have; zero: none. It does not wait.
func (k *Keeper) Set(addr netip.Addr) { k.change(func() { k.want = addr }) }

// SetKey changes the key that updates are signed with. One that has failed is tried again at once. It does not wait.
func (k *Keeper) SetKey(key Key) { k.change(func() { k.key = key }) }

func (k *Keeper) change(f func()) {
	k.mu.Lock()
	f()
	k.mu.Unlock()
	select {
	case k.changed <- struct{}{}:
	default: // it will look anyway
	}
}

// Status describes the record now.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Run keeps the record until ctx ends, and then removes it.
func (k *Keeper) Run(ctx context.Context) {
	var told netip.Addr    // the record, as the name server has confirmed it; zero: none
	var tried []netip.Addr // what it may be since, as the name server has not answered
	pause := firstRetry
	for ctx.Err() == nil {
		var again <-chan time.Time
		if want := k.wanted(); want != told || len(tried) > 0 {
			change := k.remove(append(tried, told))
			if want.IsValid() {
				change = k.set(want)
				tried = append(tried, want)
				tried = tried[max(0, len(tried)-mostTried):]
			}
			err := k.update(ctx, change)
			switch {
			case err == nil:
				told, tried, pause = want, nil, firstRetry
				k.done(want)
				continue // it may be another one by now
			case ctx.Err() == nil:
				k.failed(err)
				again = time.After(pause)
				pause = min(2*pause, lastRetry)
			}
		}
		select {
		case <-ctx.Done():
		case <-again:
		case <-k.changed:
		}
	}
	if !told.IsValid() && len(tried) == 0 {
		return
	}
	if err := k.update(context.WithoutCancel(ctx), k.remove(append(tried, told))); err != nil {
		k.log.Warn("the name keeps the address of this host, as the record cannot be removed", "name", k.status.Name, "error", err)
	}
}

// wanted is what the record should be. What changed says until now is known then.
func (k *Keeper) wanted() netip.Addr {
	select {
	case <-k.changed:
	default:
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.want
}

// done notes that the name server has been told.
func (k *Keeper) done(addr netip.Addr) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Address, k.status.Updated, k.status.LastError = addr, time.Now(), ""
	if addr.IsValid() {
		k.log.Info("the name server has been told the address", "name", k.status.Name, "address", addr)
	} else {
		k.log.Info("the name server has removed the address", "name", k.status.Name)
	}
}

// failed notes why it has not. The log is told once of each reason.
func (k *Keeper) failed(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if reason := err.Error(); reason != k.status.LastError {
		k.status.LastError = reason
		k.log.Warn("cannot update the name, trying again", "name", k.status.Name, "error", err)
	}
}
