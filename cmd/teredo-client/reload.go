package main

import (
	"context"

	"github.com/teredo-suite/teredo/internal/cli"
)

// reloaded is what SIGHUP makes the client take anew.
func (c *program) reloaded() cli.Reload {
	return cli.Reload{Flags: []string{"secret-file", "dns-key", "permit-ipv4"}, Take: c.reload}
}

func (c *program) reload(ctx context.Context) (files bool) {
	files = c.secret.reload(ctx)
	select {
	case <-c.started:
		_ = c.running.SetPermit(ctx, c.run.permitted()) // fails only when the client has stopped
		return c.announce.reloadKey(&c.run.announceFlags, c.log) || files
	case <-ctx.Done():
		return files
	}
}
