package main

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

type check struct {
	run
	cli.CheckFlags
}

// Help is the detailed help of the check command.
func (check) Help() string {
	return cli.CheckHelp("run") + "${name} check --config /etc/teredo/server.toml"
}

// Run checks.
func (c *check) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	return c.Examine(ctx, k, p, &c.RunFlags, c.examine)
}

// examine tries what a server needs.
func (c *check) examine(ctx context.Context, found *cli.Checkup) {
	if _, err := c.Sunset.Context(ctx, found.Log("sunset")); err != nil {
		found.Fail("sunset", err)
	}
	if c.SecretFile != "" {
		_, err := c.loadSecrets(found.Log("secrets"))
		found.Must(err, "secrets", "The file %s has the secrets of clients", c.SecretFile)
	}
	c.examineAddresses(found)
	found.KernelPath(c.KernelFlags, "The kernel can answer solicitations and forward bubbles", "The program would answer everything instead of the kernel", func() (io.Closer, error) {
		bind := []netip.Addr{c.Bind.Addr}
		return kernelpath.OpenServer(kernelpath.ServerConfig{Bind: bind, Public: bind, Started: time.Now()}, found.Log("kernel path"))
	})
	if err := server.TryNative(); err != nil {
		found.Warn("native IPv6", "Clients could not test native IPv6 hosts through this server: %v", err)
	} else if via, native, err := netcfg.NativeIPv6(c.TUN); err != nil || !native {
		found.Warn("native IPv6", "Clients could not test native IPv6 hosts through this server: the host has no default route of native IPv6 with a global address")
	} else {
		found.OK("native IPv6", "Echo requests to native hosts leave through %s", via)
	}
	if c.Relay {
		natives, _ := c.natives() // Check has found no mistake
		r := relay.Relay{Flags: c.Flags, KernelFlags: c.KernelFlags, Bind: c.Bind.Addr, Port: c.RelayPort, Natives: natives, PermitIPv4: c.PermitIPv4}
		r.Examine(found, "bind", "relay-port")
	}
}

// examineAddresses finds out whether both addresses are those of this host, and can be used.
func (c *check) examineAddresses(found *cli.Checkup) {
	cfg := c.config()
	var err error
	if cfg.Filter.Broadcasts, err = netcfg.Broadcasts(); err == nil {
		err = cfg.Check()
	}
	if err != nil {
		found.Fail("addresses", err)
	}
	if c.Announce {
		a := anycast{addrs: c.addresses()}
		found.Must(a.check(), "addresses", "The server puts %v on an interface of its own", a.addrs)
		found.Interface(&c.DeviceFlags, cli.KernelFlags{KernelPath: offload.Off}, anycastInterface)
	} else {
		for i, addr := range c.addresses() {
			found.UDPPort(netip.AddrPortFrom(addr, teredo.Port), udp.Options{}, []string{"bind", "bind2"}[i])
		}
	}
	if !c.Bind2.IsValid() {
		found.Warn("addresses", "Clients cannot recognise a symmetric NAT: give a second IPv4 address with --bind2")
	}
}
