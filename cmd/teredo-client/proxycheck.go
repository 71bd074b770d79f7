//go:build !small

package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/proxy"
)

type proxyCheck struct {
	proxyCommand
	cli.CheckFlags
}

// Help is the detailed help of the check-proxy command.
func (proxyCheck) Help() string {
	return cli.CheckHelp("proxy") + "${name} check-proxy --config ~/.config/teredo/proxy.toml"
}

// Run checks.
func (c *proxyCheck) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	if err := p.ForUser(&c.RunFlags); err != nil {
		return err
	}
	return c.Examine(ctx, k, p, &c.RunFlags, c.examine)
}

// examine tries what a proxy needs.
func (c *proxyCheck) examine(ctx context.Context, found *cli.Checkup) {
	if c.ProxyPasswordFile != "" {
		_, err := c.users()
		found.Must(err, "passwords", "The file %s has users and passwords", c.ProxyPasswordFile)
	}
	const subject = "listeners"
	p, err := proxy.New(c.listeners())
	if err == nil {
		err = p.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) && found.Running("socks", "http", "forward") {
		found.OK(subject, "The running program listens at the local addresses")
	} else {
		found.Must(err, subject, "The local addresses to listen at are free")
	}
	c.clientFlags.examine(ctx, found)
}
