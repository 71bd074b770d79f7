package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/state"
)

// bootID is the file that tells one start of the host from another.
const bootID = "/proc/sys/kernel/random/boot_id"

// forwarding turns IPv6 forwarding on if it is asked to, or says that it is off where that matters. What it returns undoes it,
// and what a killed run has left on.
func (r *Relay) forwarding() (restore func(), err error) {
	on, err := netcfg.Forwarding()
	if err != nil {
		return nil, err
	}
	m, err := r.forwardingMark()
	if m.found && !on { // somebody else has turned it off
		err = m.remove()
	}
	if err != nil {
		r.Log.Warn("cannot tell whether a killed relay has left IPv6 forwarding on", "error", err)
	}
	switch {
	case on && m.found:
		r.Log.Info("a killed relay has left IPv6 forwarding on; this relay turns it off when it stops")
		return func() { m.turnOff(r.Log) }, nil
	case on || r.HostOnly:
		return func() {}, nil
	case !r.Forwarding:
		r.Log.Warn("IPv6 forwarding is off, so no other host is served: use --forwarding, set net.ipv6.conf.all.forwarding=1, or use --host-only")
		return func() {}, nil
	}
	if err := mayForward(); err != nil {
		return nil, err
	}
	if err := m.leave(); err != nil {
		r.Log.Warn("cannot save that IPv6 forwarding was off; it stays on if this relay is killed", "error", err)
	}
	if err := netcfg.SetForwarding(true); err != nil {
		return nil, errors.Join(err, m.remove())
	}
	return func() { m.turnOff(r.Log) }, nil
}

// mayForward says what is wrong with turning forwarding on, if anything is.
func mayForward() error {
	ifname, err := netcfg.AdvertisedDefault()
	if err != nil || ifname == "" {
		return err
	}
	return cli.Usage(fmt.Errorf("--forwarding would take away the IPv6 default route that %s has from router advertisements: "+
		"run 'sysctl -w net.ipv6.conf.%[1]s.accept_ra=2' first, and write it into /etc/sysctl.d", ifname))
}

// mark is a file that says that a relay has turned forwarding on, which was off before. It counts until the host starts again:
// then forwarding is what the administrator has configured.
type mark struct {
	path, boot string
	found      bool
}

// forwardingMark looks for the mark of an earlier run.
func (r *Relay) forwardingMark() (m mark, err error) {
	m.path = r.Mark
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return m, fmt.Errorf("tell this start of the host from others: %w", err)
	}
	m.boot = strings.TrimSpace(string(boot))
	var left string
	err = state.Load(m.path, &left)
	m.found = err == nil && left == m.boot
	return m, err
}

func (m mark) leave() error { return state.Save(m.path, m.boot) }

func (m mark) remove() error { return state.Remove(m.path) }

// turnOff turns forwarding off. Where that fails the mark stays, for the next run.
func (m mark) turnOff(log *slog.Logger) {
	err := netcfg.SetForwarding(false)
	if err == nil {
		err = m.remove()
	}
	if err != nil {
		log.Error("IPv6 forwarding may stay on", "error", err)
	}
}
