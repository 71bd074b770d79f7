// Command teredo-server lets Teredo clients find their address and each other (RFC 4380 §5.3).
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

func main() {
	cli.Program{
		Name: "teredo-server",
		Description: "Teredo server: tells IPv6 clients behind IPv4 NATs how the Internet sees them, " +
			"and helps them to reach each other (UDP port 3544).",
		Control: cli.ControlPath("teredo-server", "server"),
		Hint:    hint,
	}.Main(&struct {
		Run       run                  `cmd:"" help:"Serve until stopped."`
		Status    cli.Status[status]   `cmd:"" help:"Show what the running server is doing."`
		Peers     cli.Peers[peer.Info] `cmd:"" help:"Show the clients that the relay in a server with --relay knows."`
		Drain     cli.Drain            `cmd:"" help:"Take the running server out of service without a gap, and wait until it has stopped."`
		Upgrade   cli.Upgrade          `cmd:"" help:"Replace the running server by this program, without a gap."`
		Bugreport bugreport            `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Import    importCommand        `cmd:"" help:"Write a configuration file from one of Miredo."`
		Check     check                `cmd:"" help:"Find out whether a start would succeed, without starting."`
		Version   cli.Version          `cmd:"" help:"Show the version."`
	}{})
}

type run struct {
	Bind         cli.IPv4         `required:"" example:"192.0.2.1" placeholder:"ADDRESS" help:"IPv4 address of this host. Clients' addresses contain it."`
	Bind2        cli.IPv4         `name:"bind2" placeholder:"ADDRESS" help:"Second IPv4 address of this host. Clients need it to recognise a symmetric NAT."`
	Public       cli.IPv4         `placeholder:"ADDRESS" help:"Address that the Internet sees instead of --bind, if this host is behind a 1:1 NAT."`
	Public2      cli.IPv4         `name:"public2" placeholder:"ADDRESS" help:"Address that the Internet sees instead of --bind2."`
	NativePrefix cli.NativePrefix `placeholder:"PREFIX" help:"Native /64 from which clients get native addresses. A relay with the same --native-prefix must serve it. The clients' echo requests to native hosts leave with their native addresses."`
	SecretFile   string           `placeholder:"FILE" help:"Serve only clients whose secret is in this file: one 'identifier secret' per line, mode 600. SIGHUP makes the server read it again."`
	SourceRate   uint             `default:"1000" placeholder:"N" help:"Most datagrams a second that the server sends on account of one IPv4 address (${default}; 0 means no limit). A burst may have five times as many. All clients behind one carrier's NAT share the limit."`
	Announce     bool             `help:"Put --bind and --bind2 on an interface of the server's own, teredo-anycast, while it serves. A routing daemon announces them from there. No other interface may have them."`
	cli.DrainFlags
	cli.SunsetFlags
	StrictSource bool `help:"Refuse bubbles whose UDP source port differs from the port in their Teredo address. Clients of other servers behind symmetric NATs then cannot reach clients of this server."`
	cli.NativeFlags
	cli.KernelFlags
	cli.RunFlags

	Relay       bool   `group:"Relay flags:" help:"Also be a relay at --bind, so that an operator's host needs only this program. The flags below are for the relay."`
	RelayPort   uint16 `group:"Relay flags:" default:"3545" placeholder:"PORT" help:"UDP port of the relay (${default})."`
	relay.Flags `group:"Relay flags:"`
}

// status is the server's status with what only the program knows.
type status struct {
	State      string     `json:"state"`                 // initial, running, stopping
	WaitingFor string     `json:"waiting_for,omitempty"` // while it sets itself up
	Sunset     cli.Sunset `json:"sunset,omitzero"`       // when it ceases to serve
	server.Status
	Announcement
	Relay    relay.Status `json:"relay,omitzero"`
	Confined string       `json:"confined,omitempty"` // by what, once it is set up
}

// Announcement is announce.Status under a name of its own.
type Announcement = announce.Status

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The server keeps no state about clients. It needs one public IPv4 address; two are better.
With IPv6 connectivity and the capability CAP_NET_RAW it also forwards its clients' echo requests
to native IPv6 hosts. A client needs this to find the relay of such a host.

With --relay it is a relay, too. Then one host with one IPv4 address and a native /64 is all that clients need: with
--native-prefix they have native addresses, which all of the IPv6 Internet reaches.

Examples:

    ${name} run --bind 192.0.2.1 --bind2 192.0.2.2
    ${name} run --bind 10.1.2.3 --public 192.0.2.1
    ${name} run --bind 192.0.2.1 --native-prefix 2001:db8:c::/64 --relay --forwarding
    ${name} run --config /etc/teredo/server.toml`
}

// Run serves clients and status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error { return start(ctx, p, r) }

// Check finds what is wrong with the flags, as far as that shows without the network.
func (r *run) Check() error {
	switch {
	case !r.Relay && r.Flags.Given():
		return errors.New("--serve, --neighbor-proxy, --capacity, --forwarding and --control-group are for a relay: add --relay, or leave them out")
	case r.Relay && r.RelayPort == teredo.Port:
		return fmt.Errorf("UDP port %d is the server's: choose another --relay-port", r.RelayPort)
	case r.Relay:
		if _, err := r.natives(); err != nil {
			return err
		}
		if err := r.Flags.Check(r.NativePrefix.IsValid()); err != nil {
			return err
		}
	}
	if err := r.DrainFlags.Check(); err != nil {
		return err
	}
	return r.config().Check()
}

// natives is the native prefix for the relay, if there is one.
func (r *run) natives() (teredo.NativePrefixes, error) {
	if !r.NativePrefix.IsValid() {
		return nil, nil
	}
	own := r.Bind.Addr
	if r.Public.IsValid() {
		own = r.Public.Addr
	}
	if f := (teredo.Filter{Permit: r.PermitIPv4}); !f.Global(own) {
		return nil, fmt.Errorf("--native-prefix %v is for clients of %v, which is not a public IPv4 address: give the address that the Internet "+
			"sees with --public, or allow its range with --permit-ipv4", r.NativePrefix.Prefix, own)
	}
	native, err := teredo.NewNativePrefix(own, r.NativePrefix.Prefix)
	if err != nil {
		return nil, fmt.Errorf("--native-prefix: %w", err)
	}
	return teredo.NativePrefixes{native}, nil
}

// config is what the flags say.
func (r *run) config() server.Config {
	return server.Config{
		Primary: r.Bind.Addr, Secondary: r.Bind2.Addr,
		Public: r.Public.Addr, Public2: r.Public2.Addr,
		Native:       r.NativePrefix.Prefix,
		Filter:       teredo.Filter{Permit: r.permit()},
		StrictSource: r.StrictSource, SourceRate: int(r.SourceRate),
	}
}

// permit are the special-use ranges that the flags permit.
func (r *run) permit() []netip.Prefix {
	return slices.Concat[[]netip.Prefix](r.PermitIPv4, r.PermitIPv6)
}
