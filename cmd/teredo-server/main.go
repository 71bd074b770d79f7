// Command teredo-server lets Teredo clients find their address and each other (RFC 4380 §5.3).
package main

import (
	"context"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

func main() {
	cli.Program{
		Name: "teredo-server",
		Description: "Teredo server: tells IPv6 clients behind IPv4 NATs how the Internet sees them, " +
			"and helps them to reach each other (UDP port 3544).",
		Control: "/run/teredo-server/server.sock",
		Hint:    hint,
	}.Main(&struct {
		Run       run                `cmd:"" help:"Serve until stopped."`
		Status    cli.Status[status] `cmd:"" help:"Show what the running server is doing."`
		Bugreport cli.Bugreport      `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Version   cli.Version        `cmd:"" help:"Show the version."`
	}{})
}

type run struct {
	Bind       cli.IPv4 `required:"" placeholder:"ADDRESS" help:"IPv4 address of this host. Clients' addresses contain it."`
	Bind2      cli.IPv4 `name:"bind2" placeholder:"ADDRESS" help:"Second IPv4 address of this host. Clients need it to recognise a symmetric NAT."`
	Public     cli.IPv4 `placeholder:"ADDRESS" help:"Address that the Internet sees instead of --bind, if this host is behind a 1:1 NAT."`
	Public2    cli.IPv4 `name:"public2" placeholder:"ADDRESS" help:"Address that the Internet sees instead of --bind2."`
	SecretFile string   `placeholder:"FILE" help:"Serve only clients whose secret is in this file: one 'identifier secret' per line, mode 600. SIGHUP makes the server read it again."`
	SourceRate uint     `default:"1000" placeholder:"N" help:"Most datagrams a second that the server sends on account of one IPv4 address (${default}; 0 means no limit). A burst may have five times as many. All clients behind one carrier's NAT share the limit."`
	cli.SunsetFlags
	StrictSource bool `help:"Refuse bubbles whose UDP source port differs from the port in their Teredo address. Clients of other servers behind symmetric NATs then cannot reach clients of this server."`
	cli.NativeFlags
	cli.RunFlags
}

// status is the server's status with what only the program knows.
type status struct {
	State      string     `json:"state"`                 // initial, running, stopping
	WaitingFor string     `json:"waiting_for,omitempty"` // while it sets itself up
	Sunset     cli.Sunset `json:"sunset,omitzero"`       // when it ceases to serve
	server.Status
	Confined string `json:"confined,omitempty"` // by what, once it is set up
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The server keeps no state about clients. It needs one public IPv4 address; two are better.
With IPv6 connectivity and the capability CAP_NET_RAW it also forwards its clients' echo requests
to native IPv6 hosts. A client needs this to find the relay of such a host.

Examples:

    ${name} run --bind 192.0.2.1 --bind2 192.0.2.2
    ${name} run --bind 10.1.2.3 --public 192.0.2.1
    ${name} run --config /etc/teredo/server.toml`
}

// Run serves clients and status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error { return start(ctx, p, r) }

// Check finds what is wrong with the flags, as far as that shows without the network.
func (r *run) Check() error { return r.config().Check() }

// config is what the flags say.
func (r *run) config() server.Config {
	return server.Config{
		Primary: r.Bind.Addr, Secondary: r.Bind2.Addr,
		Public: r.Public.Addr, Public2: r.Public2.Addr,
		Filter:       teredo.Filter{Permit: slices.Concat[[]netip.Prefix](r.PermitIPv4, r.PermitIPv6)},
		StrictSource: r.StrictSource, SourceRate: int(r.SourceRate),
	}
}
