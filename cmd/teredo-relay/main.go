// Command teredo-relay carries packets between native IPv6 and Teredo clients (RFC 4380 §5.4).
package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

func main() {
	cli.Program{
		Name:        "teredo-relay",
		Description: "Teredo relay: carries packets between native IPv6 and Teredo clients, whose addresses are in 2001::/32.",
		Control:     "/run/teredo-relay/relay.sock",
		Hint:        hint,
	}.Main(&struct {
		Run       run                  `cmd:"" help:"Relay until stopped."`
		Status    cli.Status[status]   `cmd:"" help:"Show what the running relay is doing."`
		Peers     cli.Peers[peer.Info] `cmd:"" help:"Show the clients that the running relay knows."`
		Bugreport cli.PeersBugreport   `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Version   cli.Version          `cmd:"" help:"Show the version."`
	}{})
}

type run struct {
	Bind       cli.IPv4         `placeholder:"ADDRESS" help:"IPv4 address of this host. The default is the source address of the route to each client."`
	Port       uint16           `default:"3545" placeholder:"PORT" help:"UDP port to use (${default}). Not 3544, which is for servers."`
	TUN        string           `name:"tun" default:"teredo" placeholder:"NAME" help:"Name of the interface to create (${default})."`
	HostOnly   bool             `help:"Serve only this host, at all of its IPv6 addresses. Without this flag, packets of clients are delivered to this host only if --serve covers its address."`
	Serve      cli.IPv6Prefixes `placeholder:"CIDR,…" help:"Serve only these ranges of native IPv6 addresses. They may include special-use ones (unique local, 6to4, NAT64) and those of this host. The default is every global address except those of this host."`
	Capacity   int              `placeholder:"N" help:"Most clients that the relay remembers; it forgets the least recently used first. The default is what a quarter of the memory holds, from 4096 to 1048576."`
	Forwarding bool             `help:"Turn on IPv6 forwarding of this host while the relay runs."`
	cli.SunsetFlags
	cli.OffloadFlags
	cli.PeersFlags
	cli.RunFlags
}

// status is the relay's status with what only the program knows.
type status struct {
	WaitingFor string     `json:"waiting_for,omitempty"` // while it sets itself up
	Sunset     cli.Sunset `json:"sunset,omitzero"`       // when it ceases to serve
	tunnel.RelayStatus
	Confined string `json:"confined,omitempty"` // by what, once it is set up
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The relay needs root, or the capability CAP_NET_ADMIN, a public IPv4 address and native IPv6. It creates an interface
and routes 2001::/32 to it. Announce that prefix to the IPv6 hosts that the relay is to serve, and allow UDP to its port.
It needs IPv6 forwarding to serve them. With --host-only it serves only this host.

Examples:

    ${name} run --bind 198.51.100.1 --forwarding
    ${name} run --host-only
    ${name} run --config /etc/teredo/relay.toml`
}

// Run relays packets and serves status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error { return start(ctx, p, r) }

// Check finds what is wrong with the flags.
func (r *run) Check() error {
	switch {
	case r.Port == teredo.Port:
		return fmt.Errorf("UDP port %d is for Teredo servers: choose another --port", r.Port)
	case r.HostOnly && r.Forwarding:
		return errors.New("--host-only needs no --forwarding: leave one of them out")
	case r.HostOnly && r.Serve != nil:
		return errors.New("--host-only serves all addresses of this host: leave --serve out")
	}
	if r.Capacity != 0 {
		if err := checkCapacity(r.Capacity); err != nil {
			return err
		}
	}
	return cli.CheckName(r.TUN)
}
