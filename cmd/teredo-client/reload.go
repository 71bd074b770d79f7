package main

import (
	"context"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
)

// reloaded is what SIGHUP makes the client take anew.
func (c *client) reloaded() cli.Reload {
	return cli.Reload{Flags: []string{"secret-file", "dns-key", "permit-ipv4"}, Take: c.reload}
}

func (c *client) reload(ctx context.Context) (files bool) {
	secret, key := c.reloadSecret(ctx), c.reloadKey(ctx)
	if permit := c.run.permit(); c.starts(ctx) {
		_ = c.running.SetPermit(ctx, permit) // fails only when the client has stopped
	}
	return secret || key
}

// permit are the special-use ranges that the flags permit.
func (r *run) permit() []netip.Prefix {
	return slices.Concat[[]netip.Prefix](r.PermitIPv4, r.PermitIPv6)
}

// starts waits until the client has been set up. It is false when the client has ended before.
func (c *client) starts(ctx context.Context) bool {
	select {
	case <-c.started:
		return true
	case <-ctx.Done():
		return false
	}
}

// loadKey reads the key for updates of the name. It is empty when no name is kept.
func (r *run) loadKey() (key dnsupdate.Key, err error) {
	if r.DNSUpdate != "" {
		key, err = dnsupdate.LoadKey(r.DNSKey)
	}
	return key, err
}

// reloadKey has updates signed with the key that is in the file now. It reports whether there is a file.
func (c *client) reloadKey(ctx context.Context) bool {
	if c.run.DNSUpdate == "" {
		return false
	}
	key, err := c.run.loadKey()
	if err != nil {
		c.cfg.Log.Error("cannot read the DNS key again; keeping the one in use", "error", err)
		return true
	}
	if c.starts(ctx) {
		c.announce.dns.SetKey(key)
		c.cfg.Log.Info("updating the name with the key in the file", "key", key.Name, "file", c.run.DNSKey)
	}
	return true
}
