// Command teredo-relay carries packets between native IPv6 and Teredo clients (RFC 4380 §5.4).
package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// capacity is how many clients the relay remembers; the least recently used go first.
const capacity = 1 << 20

func main() {
	cli.Program{
		Name:        "teredo-relay",
		Description: "Teredo relay: carries packets between native IPv6 and Teredo clients, whose addresses are in 2001::/32.",
		Control:     "/run/teredo/relay.sock",
	}.Main(&struct {
		Run     run                            `cmd:"" help:"Relay until stopped."`
		Status  cli.Status[tunnel.RelayStatus] `cmd:"" help:"Show what the running relay is doing."`
		Peers   cli.Peers[peer.Info]           `cmd:"" help:"Show the clients that the running relay knows."`
		Version cli.Version                    `cmd:"" help:"Show the version."`
	}{})
}

type run struct {
	Bind       cli.IPv4 `placeholder:"ADDRESS" help:"IPv4 address of this host to use. The default is whatever the route to a client has."`
	Port       uint16   `default:"3545" placeholder:"PORT" help:"UDP port to use (${default}). Not 3544, which is for servers."`
	TUN        string   `name:"tun" default:"teredo" placeholder:"NAME" help:"Name of the interface to create (${default})."`
	Forwarding bool     `help:"Turn IPv6 forwarding of this host on while the relay runs."`
	cli.RunFlags
}

// Help is the detailed help of the run command.
func (run) Help() string {
	return `The relay needs root, or the capability CAP_NET_ADMIN, a public IPv4 address and native IPv6. It creates an interface
and routes 2001::/32 to it. Announce that prefix to the IPv6 hosts that the relay shall serve, and allow UDP to its port.
Without IPv6 forwarding it serves this host alone.

Examples:

    ${name} run --bind 198.51.100.1 --forwarding
    ${name} run --config /etc/teredo/relay.toml`
}

// Run relays packets and serves status requests.
func (r *run) Run(ctx context.Context) error {
	if err := tunnel.CheckName(r.TUN); err != nil {
		return cli.Usage(err)
	}
	log := r.Logger()
	socket, err := control.Listen(r.Control)
	if err != nil {
		return err
	}
	defer socket.Close()
	relay, err := r.open(log)
	if err != nil {
		return err
	}
	restore, err := r.forwarding(log)
	if err != nil {
		return err
	}
	defer restore()
	log.Info("relaying", "interface", r.TUN, "local", relay.LocalAddr())
	cli.Ready(fmt.Sprintf("Relaying at %v", relay.LocalAddr()))

	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return relay.Run(ctx) })
	tasks.Go(func() error {
		return control.Serve(ctx, socket, map[string]func(context.Context) (any, error){
			"status": func(ctx context.Context) (any, error) { return relay.Status(ctx) },
			"peers":  func(ctx context.Context) (any, error) { return relay.Peers(ctx) },
		})
	})
	return tasks.Wait()
}

// open makes the UDP socket, the interface and the route.
func (r *run) open(log *slog.Logger) (*tunnel.Relay, error) {
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind.Addr
	}
	broadcasts, err := netcfg.Broadcasts()
	if err != nil {
		return nil, err
	}
	conn, err := udp.Listen(netip.AddrPortFrom(local, r.Port))
	if err != nil {
		return nil, err
	}
	device, err := tunnel.OpenDevice(r.TUN)
	if err != nil {
		conn.Close()
		return nil, err
	}
	source := linkLocal()
	if err := netcfg.RelayUp(r.TUN, teredo.MTU, source); err != nil {
		device.Close()
		conn.Close()
		return nil, err
	}
	errorSource, ok := netcfg.GlobalIPv6()
	if !ok {
		log.Warn("this host has no global IPv6 address: IPv6 hosts won't be told when a client is unreachable")
	}
	return tunnel.NewRelay(tunnel.RelayConfig{
		Device: device, Conn: conn, Capacity: capacity, Source: source, Errors: errorSource,
		Filter: teredo.Filter{Permit: r.PermitIPv4, Broadcasts: broadcasts},
	}), nil
}

// linkLocal returns a link-local address with a random interface identifier.
func linkLocal() netip.Addr {
	b := [16]byte{0xfe, 0x80}
	rand.Read(b[8:])
	return netip.AddrFrom16(b)
}

// forwarding turns IPv6 forwarding on if it is asked to, or says that it is off. What it returns undoes it.
func (r *run) forwarding(log *slog.Logger) (restore func(), err error) {
	on, err := netcfg.Forwarding()
	switch {
	case err != nil:
		return nil, err
	case on:
		return func() {}, nil
	case !r.Forwarding:
		log.Warn("IPv6 forwarding is off, so only this host is served: use --forwarding, or set net.ipv6.conf.all.forwarding=1")
		return func() {}, nil
	}
	if err := netcfg.SetForwarding(true); err != nil {
		return nil, err
	}
	return func() {
		if err := netcfg.SetForwarding(false); err != nil {
			log.Error("IPv6 forwarding stays on", "error", err)
		}
	}, nil
}
