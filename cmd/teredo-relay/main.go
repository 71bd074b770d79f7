// Command teredo-relay carries packets between native IPv6 and Teredo clients (RFC 4380 §5.4).
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

func main() {
	cli.Program{
		Name:        "teredo-relay",
		Description: "Teredo relay: carries packets between native IPv6 and Teredo clients, whose addresses are in 2001::/32.",
		Control:     cli.ControlPath("teredo-relay", "relay"),
		Hint:        hint,
	}.Main(&struct {
		Run       run                  `cmd:"" help:"Relay until stopped."`
		Status    cli.Status[status]   `cmd:"" help:"Show what the running relay is doing."`
		Peers     cli.Peers[peer.Info] `cmd:"" help:"Show the clients that the running relay knows."`
		Drain     cli.Drain            `cmd:"" help:"Take the running relay out of service without a gap, and wait until it has stopped."`
		Upgrade   cli.Upgrade          `cmd:"" help:"Replace the running relay by this program, without a gap."`
		Bugreport cli.PeersBugreport   `cmd:"" help:"Write an archive that tells others what is wrong, without secrets."`
		Import    importCommand        `cmd:"" help:"Write a configuration file from one of Miredo."`
		Check     check                `cmd:"" help:"Find out whether a start would succeed, without starting."`
		Version   cli.Version          `cmd:"" help:"Show the version."`
	}{})
}

type run struct {
	Bind         cli.IPv4           `placeholder:"ADDRESS" help:"IPv4 address of this host. The default is the source address of the route to each client."`
	Port         uint16             `default:"3545" placeholder:"PORT" help:"UDP port to use (${default}). Not 3544, which is for servers."`
	HostOnly     bool               `help:"Serve only this host, at all of its IPv6 addresses. Without this flag, packets of clients are delivered to this host only if --serve covers its address."`
	NativePrefix cli.NativePrefixes `placeholder:"[SERVER=]PREFIX,…" help:"Give the clients of a server native addresses in this /64, one prefix for each server. SERVER is the server's public IPv4 address; the default is --bind. Give the server the same --native-prefix."`
	relay.Flags
	cli.KernelFlags
	cli.DrainFlags
	cli.SunsetFlags
	cli.RunFlags
}

// status is the relay's status with what only the program knows.
type status struct {
	WaitingFor string     `json:"waiting_for,omitempty"` // while it sets itself up
	Sunset     cli.Sunset `json:"sunset,omitzero"`       // when it ceases to serve
	relay.Status
	Confined string `json:"confined,omitempty"` // by what, once it is set up
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The relay needs root, or the capability CAP_NET_ADMIN, a public IPv4 address and native IPv6. It creates an interface
and routes 2001::/32 to it. Announce that prefix to the IPv6 hosts that the relay is to serve, and allow UDP to its port.
It needs IPv6 forwarding to serve them. With --host-only it serves only this host.

With --native-prefix nobody has to announce 2001::/32: the clients of one server have native addresses in a /64 that is
routed to this host, and all of the IPv6 Internet reaches them there. Where the /64 is that of an interface instead, as most
hosters have it, --neighbor-proxy INTERFACE has the router of that link find the clients here.

Examples:

    ${name} run --bind 198.51.100.1 --forwarding
    ${name} run --bind 198.51.100.1 --forwarding --native-prefix 2001:db8:c::/64
    ${name} run --bind 198.51.100.1 --forwarding --native-prefix 2001:db8:c::/64 --neighbor-proxy eth0
    ${name} run --host-only
    ${name} run --config /etc/teredo/relay.toml`
}

// Run relays packets and serves status requests.
func (r *run) Run(ctx context.Context, p *cli.Process) error {
	log := p.Logger(&r.RunFlags)
	ctx, err := r.Sunset.Context(ctx, log)
	if err != nil {
		return err
	}
	natives, err := r.natives()
	if err != nil {
		return cli.Usage(err)
	}
	state := cli.NewState(
		status{Status: relay.Status{RelayStatus: tunnel.RelayStatus{State: "initial"}, Status: announce.Unannounced()}, Sunset: r.Sunset},
		func(s *status) (state, waitingFor *string) { return &s.State, &s.WaitingFor },
	)
	var confined cli.Confinement
	a := &relay.Relay{
		Flags: r.Flags, KernelFlags: r.KernelFlags, Bind: r.Bind.Addr, Port: r.Port, HostOnly: r.HostOnly, Natives: natives, PermitIPv4: r.PermitIPv4,
		Mark: r.StateFile("forwarding"), Log: log, Inherited: p.Inherited(), Processors: p.Processors(), TakeOver: p.TakeOver,
		WaitsFor: state.WaitsFor, Confine: func(needs confine.Policy) { confined.To(needs, &r.RunFlags, log) },
	}
	announcers := []*cli.Announcer{a.Announcer(r.DrainFlags)}
	started := make(chan struct{})
	a.Runs = func() {
		close(started)
		state.Runs(func(ctx context.Context) (status, error) {
			s, err := a.Status(ctx)
			return status{Status: s, Sunset: r.Sunset, Confined: confined.String()}, err
		})
	}
	a.Ready = func(local netip.AddrPort) { cli.Ready(fmt.Sprintf("Relaying at %v", local)) }
	questions, err := r.Peers(a.Peers)
	if err != nil {
		return err
	}
	return cli.Serve(ctx, p, cli.Service[status]{Flags: &r.RunFlags, Log: log, State: state, Run: a.Run, Questions: questions, Announcers: announcers, Give: a.Give, Reload: cli.Reload{
		Flags: []string{"permit-ipv4"},
		Take: func(ctx context.Context) (files bool) {
			select {
			case <-started:
				a.SetPermit(ctx, r.PermitIPv4)
			case <-ctx.Done():
			}
			return false
		},
	}})
}

// Check finds what is wrong with the flags.
func (r *run) Check() error {
	switch {
	case r.Port == teredo.Port:
		return fmt.Errorf("UDP port %d is for Teredo servers: choose another --port", r.Port)
	case r.HostOnly && r.Forwarding:
		return errors.New("--host-only needs no --forwarding: leave one of them out")
	case r.HostOnly && r.Serve != nil:
		return errors.New("--host-only serves all addresses of this host: leave --serve out")
	case r.HostOnly && r.NativePrefix != nil:
		return errors.New("--host-only serves only this host, and native addresses are for other hosts: leave --native-prefix out")
	}
	if _, err := r.natives(); err != nil {
		return err
	}
	if err := r.DrainFlags.Check(); err != nil {
		return err
	}
	return r.Flags.Check(r.NativePrefix != nil)
}

// natives are the native prefixes of clients. One that names no server is that of the server at the relay's own address.
func (r *run) natives() (teredo.NativePrefixes, error) {
	return r.NativePrefix.For(r.Bind.Addr, r.PermitIPv4)
}
