package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/client"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/portmap"
	"github.com/teredo-suite/teredo/internal/probe"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

const (
	mostServers   = 16 // of one probe
	shortestProbe = 100 * time.Millisecond
	longestProbe  = time.Minute
	lookupTimeout = 5 * time.Second
)

type probeCommand struct {
	Server []string `arg:"" optional:"" sep:"none" placeholder:"SERVER" help:"Teredo server: a name or an IPv4 address. If its second address is not the next one, give both with a comma. The default is the server of the running client."`

	Bind        cli.IPv4      `placeholder:"ADDRESS" help:"Local IPv4 address. The default is the source address of the route to the server."`
	PermitIPv4  cli.Prefixes  `name:"permit-ipv4" placeholder:"CIDR,…" help:"Treat these special-use IPv4 ranges as public, as the run command does."`
	PortMapping bool          `negatable:"" default:"true" help:"Ask the gateway to forward a UDP port, by UPnP, PCP or NAT-PMP, and remove the mapping again."`
	Timeout     time.Duration `default:"15s" placeholder:"DURATION" help:"Longest wait for servers that do not answer (${default})."`
	JSON        bool          `help:"Print JSON instead of text."`
	Control     string        `default:"${control}" placeholder:"PATH" help:"Control socket of the running client. Without a server argument, the probe asks it for its server (${default})."`
}

// Help is the detailed help of the probe command.
func (probeCommand) Help() string {
	return `No privilege is needed, and a running client is not disturbed. The probe asks from UDP ports of its own whether the
servers answer, how fast, what the NAT does, and behind which NATs the clients are that could be reached. It takes a
second or two, and longer when somebody does not answer. Exit code 0 means that some server works.

Examples:

    ${name} probe
    ${name} probe teredo.example.net teredo.example.org
    ${name} probe 192.0.2.1,198.51.100.1 --json`
}

// Run probes and prints the report.
func (c *probeCommand) Run(ctx context.Context, k *kong.Kong) error {
	if c.Timeout < shortestProbe || c.Timeout > longestProbe {
		return cli.Usage(fmt.Errorf("--timeout %v is not from %v to %v", c.Timeout, shortestProbe, longestProbe))
	}
	tell := cli.NewProgress(k.Stderr)
	report, err := c.report(ctx, tell.WaitsFor)
	tell.End()
	if err != nil {
		return err
	}
	if err := c.print(k.Stdout, &report); err != nil {
		return err
	}
	if report.Best == "" {
		return errors.New("no server works")
	}
	return nil
}

// report probes. It tells what it waits for.
func (c *probeCommand) report(ctx context.Context, tell func(what string)) (r probe.Report, err error) {
	servers, err := c.servers(ctx)
	switch {
	case ctx.Err() != nil:
		return r, errors.New("interrupted")
	case err != nil:
		return r, cli.Usage(err)
	}
	cfg := probe.Config{
		Servers: servers, Filter: c.filter(), Timeout: c.Timeout,
		Open: c.open, Local: c.local, Progress: tell,
	}
	if c.PortMapping {
		// The list of mappings is for a later run, which a probe has not.
		folder, err := os.MkdirTemp("", "teredo-probe-")
		if err != nil {
			return r, fmt.Errorf("make a folder for the port mapping (--no-port-mapping does without): %w", err)
		}
		defer os.RemoveAll(folder)
		cfg.PortMap = portmap.NewKeeper(netcfg.Gateway, filepath.Join(folder, "portmap"), slog.New(slog.DiscardHandler)).Keep
	}
	return probe.Run(ctx, cfg)
}

func (c *probeCommand) filter() teredo.Filter { return teredo.Filter{Permit: c.PermitIPv4} }

// open opens a UDP port that the kernel chooses.
func (c *probeCommand) open() (probe.Conn, error) {
	bind := netip.IPv4Unspecified()
	if c.Bind.IsValid() {
		bind = c.Bind.Addr
	}
	return udp.Listen(netip.AddrPortFrom(bind, 0), udp.Options{GSO: offload.Off, GRO: offload.Off})
}

// local is the address that packets to a server leave from, zero when there is no route.
func (c *probeCommand) local(server netip.Addr) netip.Addr {
	if c.Bind.IsValid() {
		return c.Bind.Addr
	}
	addr, err := netcfg.LocalIPv4(server)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// servers are those to probe, with the addresses that their names have. What is wrong with one of several is in its Err; an
// error is about the command line.
func (c *probeCommand) servers(ctx context.Context) ([]probe.Server, error) {
	names := c.Server
	if len(names) == 0 {
		running, err := c.running(ctx)
		if err != nil {
			return nil, err
		}
		names = []string{running}
	}
	if len(names) > mostServers {
		return nil, fmt.Errorf("%d servers are given; %d is the most", len(names), mostServers)
	}
	ctx, cancel := context.WithTimeout(ctx, min(c.Timeout, lookupTimeout))
	defer cancel()
	servers := make([]probe.Server, len(names))
	var lookups errgroup.Group
	for i, name := range names {
		lookups.Go(func() (err error) {
			servers[i], err = c.server(ctx, name)
			return err
		})
	}
	return servers, lookups.Wait()
}

// running is the server of the running client.
func (c *probeCommand) running(ctx context.Context) (string, error) {
	var s tunnel.ClientStatus
	if err := control.Get(ctx, c.Control, "status", &s); err != nil || !s.Server.IsValid() {
		return "", errors.New("no server is given, and no client is running whose server could be probed; give one, such as 192.0.2.1")
	}
	return s.Server.String(), nil
}

// server finds the addresses of a server, given as NAME or NAME,NAME2. An address that cannot be one of a server is an
// error; a name that does not lead to one is not, for that may change.
func (c *probeCommand) server(ctx context.Context, given string) (probe.Server, error) {
	s := probe.Server{Name: given}
	name, name2, second := strings.Cut(given, ",")
	if s.Primary, s.Err = resolveServer(ctx, name); s.Err == nil && second {
		s.Secondary, s.Err = resolveServer(ctx, name2)
	}
	switch {
	case errors.Is(s.Err, resolve.ErrBadName), errors.Is(s.Err, resolve.ErrIPv6):
		return s, s.Err
	case s.Err != nil:
		return s, nil
	}
	s.Err = probe.Check(s, c.filter())
	if s.Err != nil && s.Primary.String() == name {
		return s, s.Err
	}
	return s, nil
}

func resolveServer(ctx context.Context, name string) (netip.Addr, error) {
	addr, _, err := client.ResolveHost(ctx, name, netip.Addr{})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("look up %q: %w", name, resolve.ErrNoAnswer)
	}
	return addr, err
}

func (c *probeCommand) print(w io.Writer, r *probe.Report) error {
	if !c.JSON {
		return r.Print(w)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}
