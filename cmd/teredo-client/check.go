package main

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/probe"
	"github.com/teredo-suite/teredo/internal/udp"
)

type check struct {
	run
	cli.CheckFlags
}

// Help is the detailed help of the check command.
func (check) Help() string { return cli.CheckHelp + "/etc/teredo/client.toml" }

// Run checks.
func (c *check) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	return c.Examine(ctx, k, p, &c.RunFlags, c.examine)
}

// examine tries what a client needs.
func (c *check) examine(ctx context.Context, found *cli.Checkup) {
	if _, err := c.Peers(nil); err != nil {
		found.Fail("control group", err)
	}
	if c.SecretFile != "" {
		_, _, err := (&secretFile{flags: &c.clientFlags, log: found.Log("secret")}).load()
		found.Must(err, "secret", "The file %s has a secret", c.SecretFile)
	}
	if c.DNSUpdate != "" {
		_, err := dnsupdate.LoadKey(c.DNSKey)
		found.Must(err, "DNS key", "The file %s has a key", c.DNSKey)
	}
	found.Interface(&c.DeviceFlags, c.KernelFlags, c.TUN)
	found.Must(netcfg.TryClient(c.TUN), "IPv6", "The host has IPv6, and no other Teredo tunnel")
	switch via, native, err := netcfg.NativeIPv6(c.TUN); {
	case err != nil:
		found.Fail("IPv6", err)
	case native && !c.Always:
		found.OK("IPv6", "The host has native IPv6 through %s, so the client stays idle as long as that is so; --always changes this", via)
	}
	found.UDPPort(netip.AddrPortFrom(c.options().LocalAddr(), c.Port), udp.Options{GSO: c.UDPGSO, GRO: c.UDPGRO}, "bind", "port")
	c.askServers(ctx, found)
}

// askServers finds out which servers answer, from ports of its own.
func (c *check) askServers(ctx context.Context, found *cli.Checkup) {
	const subject = "server"
	p := probeCommand{Bind: c.Bind, PermitIPv4: c.PermitIPv4, Timeout: probe.DefaultTimeout}
	for n, host := range c.Server {
		if host2 := c.options().Server2(n); host2 != "" {
			host += "," + host2
		}
		p.Server = append(p.Server, host)
	}
	report, err := p.report(ctx, found.WaitsFor)
	if err != nil {
		found.Fail(subject, err)
		return
	}
	for _, s := range report.Servers {
		switch {
		case s.Works:
			found.OK(subject, "The server %s answers, after %v ms", s.Server, s.RTTMillis)
		case report.Best == "":
			found.Fail(subject, fmt.Errorf("the server %s: %s", s.Server, s.Explanation))
		default:
			found.Warn(subject, "The client would use another server than %s: %s", s.Server, s.Explanation)
		}
	}
}
