package main

import (
	"context"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/cli"
)

type check struct {
	run
	cli.CheckFlags
}

// Help is the detailed help of the check command.
func (check) Help() string {
	return cli.CheckHelp("run") + "${name} check --config /etc/teredo/relay.toml"
}

// Run checks.
func (c *check) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	return c.Examine(ctx, k, p, &c.RunFlags, c.examine)
}

// examine tries what a relay needs.
func (c *check) examine(ctx context.Context, found *cli.Checkup) {
	if _, err := c.Sunset.Context(ctx, found.Log("sunset")); err != nil {
		found.Fail("sunset", err)
	}
	natives, _ := c.natives() // Check has found no mistake
	r := relay.Relay{Flags: c.Flags, KernelFlags: c.KernelFlags, Bind: c.Bind.Addr, Port: c.Port, HostOnly: c.HostOnly, Natives: natives, PermitIPv4: c.PermitIPv4}
	r.Examine(found, "bind", "port")
}
