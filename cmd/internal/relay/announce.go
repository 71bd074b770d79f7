package relay

import (
	"context"
	"errors"
	"net/netip"
	"sync"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/netcfg"
)

// routes is which routes the interface has. Whoever changes or restores them holds the lock.
type routes struct {
	sync.Mutex
	announced bool
}

// Announcer makes the relay's announcer, which the program has to run. Call it before Run.
func (r *Relay) Announcer(drain cli.DrainFlags) *cli.Announcer {
	r.announcer = cli.NewAnnouncer(r.Log, "relay", drain, r.announce, r.load)
	return r.announcer
}

// announce makes or removes the routes that a routing daemon announces. A relay for this host alone invites nobody.
func (r *Relay) announce(on bool) error {
	if r.HostOnly {
		return nil
	}
	r.routes.Lock()
	defer r.routes.Unlock()
	change := netcfg.WithdrawRelay
	if on {
		change = netcfg.AnnounceRelay
	}
	if err := change(r.TUN, r.Natives.Prefixes()...); err != nil {
		return err
	}
	r.routes.announced = on
	return nil
}

// restore gives the interface back what it has lost.
func (r *Relay) restore(linkLocal netip.Addr) (lost []string, err error) {
	r.routes.Lock()
	defer r.routes.Unlock()
	return netcfg.RestoreRelay(r.TUN, linkLocal, r.routes.announced, r.Natives.Prefixes()...)
}

// load tells the load of a relay that is set up.
func (r *Relay) load(ctx context.Context) (announce.Load, error) {
	if t := r.running.Load(); t != nil {
		return t.Load(ctx)
	}
	return announce.Load{}, errors.New("the relay is not set up")
}
