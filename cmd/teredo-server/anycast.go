package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"syscall"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/tun"
)

// The interfaces of --announce. A dummy interface would outlive a killed server, and its addresses would still be announced. A TUN
// interface vanishes with the process that has it open, and needs nobody who reads it: no route leads there.
const (
	anycastInterface = "teredo-anycast" // has the addresses while they are announced
	keptInterface    = "teredo-kept"    // has this host accept packets for the addresses, whether or not they are announced
)

// anycast has the addresses of the server on interfaces of its own.
type anycast struct {
	inherited *succession.Inheritance // from the process that this one replaces
	addrs     []netip.Addr

	mu              sync.Mutex // a program that stops may begin to drain meanwhile
	announced, kept tun.Device // nil: it is not there yet, or not any more
}

// keep has this host accept packets for the addresses. It makes both interfaces, because a confined program cannot.
func (a *anycast) keep() (err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.announced, err = a.open(anycastInterface); err != nil {
		return err
	}
	if a.kept, err = a.open(keptInterface); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	return netcfg.KeepAddresses(keptInterface, a.addrs...)
}

// check reports an address that the interface of another program has. With a server that runs already, making ours fails.
func (a *anycast) check() error {
	for _, addr := range a.addrs {
		ifname, err := netcfg.HasAddress(addr)
		if err != nil {
			return err
		}
		if ifname != "" && ifname != anycastInterface {
			return cli.Usage(fmt.Errorf("--announce puts %v on the interface %s, and %s has this address already: remove it there, or leave --announce out",
				addr, anycastInterface, ifname))
		}
	}
	return nil
}

// announce gives the addresses to the interface that is announced, or removes that interface. It is never made again, because only a
// server that drains is withdrawn. A nil anycast does nothing: the addresses are announced in another way, or not at all.
func (a *anycast) announce(on bool) error {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if on {
		return netcfg.AnnounceAddresses(anycastInterface, a.addrs...)
	}
	return closeDevice(&a.announced)
}

// close removes both interfaces.
func (a *anycast) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(closeDevice(&a.announced), closeDevice(&a.kept))
}

// open makes an interface, or takes over that of the server before.
func (a *anycast) open(name string) (tun.Device, error) {
	queues, err := a.inherited.TUN(name, offload.Off)
	if len(queues) == 0 && err == nil {
		queues, err = tun.OpenQueues(name, 1, offload.Off)
	}
	switch {
	case errors.Is(err, syscall.EBUSY):
		return nil, fmt.Errorf("the interface %s is in use: stop the other server with --announce on this host: %w", name, err)
	case err != nil:
		return nil, cli.ExplainDevice(name, err)
	}
	return queues[0], nil
}

// give gives both interfaces to a new process.
func (a *anycast) give(g *succession.Giver) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g.TUN(anycastInterface, a.announced)
	g.TUN(keptInterface, a.kept)
}

// closeDevice removes an interface, unless it has gone already.
func closeDevice(d *tun.Device) (err error) {
	if *d != nil {
		err, *d = (*d).Close(), nil
	}
	return err
}

// announcers are those of the server and of its relay.
func (s *program) announcers() []*cli.Announcer {
	if s.run.Announce {
		s.anycast = &anycast{inherited: s.process.Inherited(), addrs: s.run.addresses()}
	}
	s.announcer = cli.NewAnnouncer(s.log, "server", s.run.DrainFlags, s.anycast.announce, s.load)
	all := []*cli.Announcer{s.announcer}
	if s.relay != nil {
		all = append(all, s.relay.Announcer(s.run.DrainFlags))
	}
	return all
}

// addresses are those that the server listens at.
func (r *run) addresses() []netip.Addr {
	if r.Bind2.IsValid() {
		return []netip.Addr{r.Bind.Addr, r.Bind2.Addr}
	}
	return []netip.Addr{r.Bind.Addr}
}

// load tells whom the server serves. What strangers send is bounded for each of them, so nothing of it is an overload.
func (s *program) load(context.Context) (l announce.Load, err error) {
	select {
	case <-s.started:
		l.Served = s.running.Served()
	default:
		err = errors.New("the server is not set up")
	}
	return l, err
}
