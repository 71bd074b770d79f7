package main

import (
	"context"
	"io"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
)

// bugreport is the client's bug report, with a probe of its server.
type bugreport struct{ cli.PeersBugreport }

// Run writes the report.
func (b *bugreport) Run(ctx context.Context, k *kong.Kong) error {
	return b.WriteWith(ctx, k, cli.Part{Name: "probe.txt", About: "what the NAT does, as the probe command shows", Write: b.probe})
}

// probe writes the report of a probe that takes the running client's server, and its flags that matter.
func (b *bugreport) probe(ctx context.Context, to io.Writer, flags map[string]string) error {
	c := probeCommand{Timeout: 10 * time.Second, PortMapping: flags["port-mapping"] != "", Control: b.Control}
	if err := c.PermitIPv4.UnmarshalText([]byte(flags["permit-ipv4"])); err != nil {
		return err
	}
	if bind := flags["bind"]; bind != "" {
		if err := c.Bind.UnmarshalText([]byte(bind)); err != nil {
			return err
		}
	}
	report, err := c.report(ctx, func(string) {})
	if err != nil {
		return err
	}
	return report.Print(to)
}
