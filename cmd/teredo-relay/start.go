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
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// capacity is how many clients the relay remembers; the least recently used go first.
const capacity = 1 << 20

func start(ctx context.Context, r *run) error {
	log := r.Logger()
	ctx, err := r.Sunset.Context(ctx, log)
	if err != nil {
		return err
	}
	socket, err := control.Listen(r.Control)
	if err != nil {
		return err
	}
	defer socket.Close()
	linkLocal := randomLinkLocal()
	cfg, err := r.open(log, linkLocal)
	if err != nil {
		return err
	}
	defer cfg.Device.Close()
	defer cfg.Conn.Close()
	if cfg.Kernel, err = tunnel.OpenKernel(r.TUN, cfg.Conn.LocalAddr(), r.KernelPath, log); err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	network, err := r.watch(ctx, log, linkLocal)
	if err != nil {
		return err
	}
	cfg.Network = network.known
	relay := tunnel.NewRelay(cfg)
	restore, err := r.forwarding(log)
	if err != nil {
		return err
	}
	defer restore()
	log.Info("relaying", "interface", r.TUN, "local", relay.LocalAddr())
	cli.Ready(fmt.Sprintf("Relaying at %v", relay.LocalAddr()))

	tasks.Go(func() error { return relay.Run(ctx) })
	tasks.Go(func() error { return r.ServeProfiles(ctx) })
	tasks.Go(func() error {
		network.follow(ctx, relay)
		return nil
	})
	tasks.Go(func() error {
		return control.Serve(ctx, socket, map[string]func(context.Context) (any, error){
			"status": func(ctx context.Context) (any, error) {
				s, err := relay.Status(ctx)
				return status{r.Sunset, s}, err
			},
			"peers": func(ctx context.Context) (any, error) { return relay.Peers(ctx) },
		})
	})
	return tasks.Wait()
}

// open makes the UDP socket, the interface with its link-local address, and the route.
func (r *run) open(log *slog.Logger, linkLocal netip.Addr) (tunnel.RelayConfig, error) {
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind.Addr
	}
	conn, err := udp.Listen(netip.AddrPortFrom(local, r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO})
	if err != nil {
		return tunnel.RelayConfig{}, err
	}
	device, err := tunnel.OpenDevice(r.TUN, r.TUNOffload)
	if err != nil {
		conn.Close()
		return tunnel.RelayConfig{}, err
	}
	if err := netcfg.RelayUp(r.TUN, teredo.MTU, linkLocal); err != nil {
		device.Close()
		conn.Close()
		return tunnel.RelayConfig{}, err
	}
	if r.HostOnly {
		if err := netcfg.LimitSegments(r.TUN, udp.MostSegments(teredo.MTU)); err != nil {
			log.Debug("super-packets may leave in two bursts", "error", err)
		}
	}
	return tunnel.RelayConfig{Device: device, Conn: conn, Capacity: capacity, PermitIPv4: r.PermitIPv4}, nil
}

// randomLinkLocal returns a link-local address with a random interface identifier.
func randomLinkLocal() netip.Addr {
	b := [16]byte{0xfe, 0x80}
	rand.Read(b[8:])
	return netip.AddrFrom16(b)
}

// forwarding turns IPv6 forwarding on if it is asked to, or says that it is off where that matters. What it returns undoes it.
func (r *run) forwarding(log *slog.Logger) (restore func(), err error) {
	on, err := netcfg.Forwarding()
	switch {
	case err != nil:
		return nil, err
	case on || r.HostOnly:
		return func() {}, nil
	case !r.Forwarding:
		log.Warn("IPv6 forwarding is off, so only this host is served: use --forwarding, set net.ipv6.conf.all.forwarding=1, or say --host-only")
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
