package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

func start(ctx context.Context, p *cli.Process, r *run) error {
	log := p.Logger(&r.RunFlags)
	ctx, err := r.Sunset.Context(ctx, log)
	if err != nil {
		return err
	}
	a := &relay{run: r, log: log, state: cli.NewState(
		status{RelayStatus: tunnel.RelayStatus{State: "initial"}, Sunset: r.Sunset},
		func(s *status) (state, waitingFor *string) { return &s.State, &s.WaitingFor },
	)}
	questions, err := r.Peers(a.peers)
	if err != nil {
		return err
	}
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &r.RunFlags, Log: log, State: a.state, Run: a.serve,
		Questions: questions,
	})
}

// relay is what the control socket tells of.
type relay struct {
	*run
	log      *slog.Logger
	state    *cli.State[status]
	confined cli.Confinement
	running  atomic.Pointer[tunnel.Relay] // nil while it is set up
}

func (r *relay) peers(ctx context.Context) (any, error) {
	if t := r.running.Load(); t != nil {
		return t.Peers(ctx)
	}
	return []peer.Info{}, nil
}

// serve sets the relay up and runs it.
func (r *relay) serve(ctx context.Context) error {
	linkLocal := randomLinkLocal()
	cfg, err := r.open(linkLocal)
	if err != nil {
		return err
	}
	defer cfg.Device.Close()
	defer cfg.Conn.Close()
	local := cfg.Conn.LocalAddr()
	cfg.Kernel = func() (tunnel.Kernel, error) { return r.openKernel(local) }
	r.state.WaitsFor("the addresses of this host")
	workers, ctx := worker.NewGroup(ctx)
	network, err := r.watch(ctx, r.log, linkLocal)
	if err != nil {
		return err
	}
	cfg.Network = network.known
	r.state.WaitsFor("the forwarding of IPv6")
	restore, err := r.forwarding(r.log)
	if err != nil {
		return err
	}
	defer restore()
	cfg.Ready = func() { cli.Ready(fmt.Sprintf("Relaying at %v", local)) }
	t := tunnel.NewRelay(cfg)
	r.running.Store(t)
	r.state.Runs(func(ctx context.Context) (status, error) {
		s, err := t.Status(ctx)
		return status{RelayStatus: s, Sunset: r.Sunset, Confined: r.confined.String()}, err
	})
	r.log.Info("relaying", "interface", r.TUN, "local", local)
	workers.Go("relay", t.Run)
	workers.Go("network", func(ctx context.Context) error { return network.follow(ctx, t) })
	workers.Go("interface", network.keeper.Run)
	return workers.Wait()
}

// openKernel opens the kernel's path, for which the relay needs more than for anything that comes after it. So then it confines
// itself. Its interface may have to be restored, and forwarding turned off again.
func (r *relay) openKernel(local netip.AddrPort) (tunnel.Kernel, error) {
	path, err := r.OpenKernel(r.TUN, local, tunnel.MostKernelFlows, r.log)
	if err == nil {
		needs := confine.Policy{NetAdmin: true, BPF: path != nil, Settings: []string{netcfg.Settings}}
		r.confined.To(needs, &r.RunFlags, r.log)
	}
	if path == nil {
		return nil, err
	}
	return path, nil
}

// open makes the UDP socket, the interface with its link-local address, and the route.
func (r *relay) open(linkLocal netip.Addr) (tunnel.RelayConfig, error) {
	r.state.WaitsFor("its UDP port")
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind.Addr
	}
	conn, err := udp.Listen(netip.AddrPortFrom(local, r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO})
	if err != nil {
		return tunnel.RelayConfig{}, err
	}
	r.state.WaitsFor("the interface " + r.TUN)
	device, err := r.OpenDevice(r.TUN)
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
			r.log.Debug("super-packets may need two bursts", "error", err)
		}
	}
	return tunnel.RelayConfig{Device: device, Conn: conn, Capacity: r.bound(r.log), PermitIPv4: r.PermitIPv4}, nil
}

// randomLinkLocal returns a link-local address with a random interface identifier.
func randomLinkLocal() netip.Addr {
	b := [16]byte{0xfe, 0x80}
	rand.Read(b[8:])
	return netip.AddrFrom16(b)
}
