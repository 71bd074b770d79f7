package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
)

const (
	seekBackoffMin = time.Second
	seekBackoffMax = 5 * time.Minute
)

// Servers are the IPv4 addresses of one Teredo server.
type Servers struct {
	Primary   netip.Addr
	Secondary netip.Addr // zero: not configured
}

// Lookup finds the addresses of one configured server, given those in use (zero: none), and says for how long they hold:
// 0 is for ever. It may take its time.
type Lookup func(ctx context.Context, current Servers) (Servers, time.Duration, error)

// seek keeps the addresses of a server that serves: those of the first at the start, the same again when they have lived
// their time, those of the next one when a server cannot be found or does not serve. When all of them have failed it
// waits, each time longer, unless the network changes.
func (c *Client) seek(ctx context.Context) error {
	select {
	case <-c.sockets.serving:
	case <-ctx.Done():
		return nil
	}
	var inUse Servers
	backoff := seekBackoffMin
	for n := 0; ; {
		found, ttl, err := c.cfg.Servers[n](ctx, inUse)
		served := false
		if c.call(ctx, func(now time.Time) {
			served = c.serves()
			c.found(now, found, err)
		}) != nil {
			return nil
		}
		if served {
			backoff = seekBackoffMin
		}
		next := (n + 1) % len(c.cfg.Servers)
		var wait time.Duration
		switch {
		case err == nil:
			inUse, wait = found, ttl
		case next != 0:
			n = next
			continue
		default:
			wait, backoff = backoff, min(2*backoff, seekBackoffMax)
		}
		switch c.pause(ctx, wait, err == nil) {
		case stopped:
			return nil
		case serverFailed:
			n = next
			if n == 0 && len(c.cfg.Servers) > 1 {
				if c.pause(ctx, backoff, false) == stopped {
					return nil
				}
				backoff = min(2*backoff, seekBackoffMax)
			}
		case networkChanged:
			backoff = seekBackoffMin
		}
	}
}

// wakeUp is why a pause ended.
type wakeUp uint8

const (
	timePassed wakeUp = iota
	serverFailed
	networkChanged
	stopped
)

// pause waits for the given time (0: for ever), a change of the network or, if it heeds that, the failure of the server in use.
func (c *Client) pause(ctx context.Context, wait time.Duration, heedFailure bool) wakeUp {
	var passed <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		passed = timer.C
	}
	failed := c.failed
	if !heedFailure {
		failed = nil
	}
	select {
	case <-ctx.Done():
		return stopped
	case <-passed:
		return timePassed
	case <-failed:
		return serverFailed
	case <-c.networkChanged:
		return networkChanged
	}
}

// found takes the result of a lookup. A server that serves is kept, whatever its name says now: another one means another
// IPv6 address.
func (c *Client) found(now time.Time, s Servers, err error) {
	if err != nil {
		if c.lookupError == nil || c.lookupError.Error() != err.Error() {
			c.cfg.Log.Warn("cannot look up the server yet, trying again", "error", err)
		}
		c.lookupError = err
		return
	}
	c.lookupError = nil
	if c.network.Native != "" || c.qualifier != nil && (s == c.servers || c.serves()) {
		return
	}
	m, err := qualify.New(c.qualifyConfig(s))
	if err != nil {
		c.lookupError = err
		c.cfg.Log.Error("cannot use the server", "error", err)
		return
	}
	c.servers, c.qualifier = s, m
	c.local = c.cfg.Local(s.Primary)
	c.cfg.Log.Info("qualifying", "server", s.Primary)
	c.begin(now)
}

// qualifyConfig says how to qualify with a server.
func (c *Client) qualifyConfig(s Servers) qualify.Config {
	return qualify.Config{
		Server: s.Primary, Server2: s.Secondary, Filter: c.cfg.filter(c.network), SymmetricNAT: c.cfg.Extensions.SymmetricNAT, Rand: c.cfg.Rand,
		Interval: c.cfg.Interval, ClientID: c.cfg.ClientID, Secret: c.cfg.Secret, ConePhase: c.cfg.ConePhase,
		NativeAddress: c.cfg.NativeAddress,
		Local:         func() netip.AddrPort { return c.local }, Reached: c.peers.Reached, Last: c.last,
	}
}
