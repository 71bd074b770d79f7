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
func (check) Help() string {
	return cli.CheckHelp("run") + "${name} check --config /etc/teredo/client.toml"
}

// Run checks.
func (c *check) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	return c.Examine(ctx, k, p, &c.RunFlags, c.examine)
}

// examine tries what a client with an interface needs.
func (c *check) examine(ctx context.Context, found *cli.Checkup) {
	found.Interface(&c.DeviceFlags, c.KernelFlags, c.TUN)
	found.Must(netcfg.TryClient(c.TUN), "IPv6", "The host has IPv6, and no other Teredo tunnel")
	switch via, native, err := netcfg.NativeIPv6(c.TUN); {
	case err != nil:
		found.Fail("IPv6", err)
	case native && !c.Always:
		found.OK("IPv6", "The host has native IPv6 through %s, so the client stays idle as long as that is so; --always changes this", via)
	}
	c.clientFlags.examine(ctx, found)
}

// examine tries what every client needs.
func (f *clientFlags) examine(ctx context.Context, found *cli.Checkup) {
	if _, err := f.Peers(nil); err != nil {
		found.Fail("control group", err)
	}
	if f.SecretFile != "" {
		_, _, err := (&secretFile{flags: f, log: found.Log("secret")}).load()
		found.Must(err, "secret", "The file %s has a secret", f.SecretFile)
	}
	if f.DNSUpdate != "" {
		_, err := dnsupdate.LoadKey(f.DNSKey)
		found.Must(err, "DNS key", "The file %s has a key", f.DNSKey)
	}
	found.UDPPort(netip.AddrPortFrom(f.options().LocalAddr(), f.Port), udp.Options{GSO: f.UDPGSO, GRO: f.UDPGRO}, "bind", "port")
	f.askServers(ctx, found)
}

// askServers finds out which servers answer, from ports of its own.
func (f *clientFlags) askServers(ctx context.Context, found *cli.Checkup) {
	const subject = "server"
	p := probeCommand{Bind: f.Bind, PermitIPv4: f.PermitIPv4, Timeout: probe.DefaultTimeout}
	for n, host := range f.Server {
		if host2 := f.options().Server2(n); host2 != "" {
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
