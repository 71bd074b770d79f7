package relay

import (
	"context"
	"crypto/rand"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Run sets the relay up and runs it until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	linkLocal, legacy := r.inherit(randomLinkLocal())
	cfg, conn, err := r.open(linkLocal)
	if err != nil {
		return err
	}
	defer cfg.Device.Close()
	defer conn.Close()
	cfg.Legacy = legacy
	neighbors, err := r.openNeighbors()
	if err != nil {
		return err
	}
	defer neighbors.close()
	local := conn.LocalAddr()
	cfg.Kernel = func() (tunnel.Kernel, error) { return r.openKernel(local) }
	r.WaitsFor("the addresses of this host")
	workers, ctx := worker.NewGroup(ctx)
	network, err := r.watch(ctx, linkLocal)
	if err != nil {
		return err
	}
	cfg.Network = network.known
	r.WaitsFor("the forwarding of IPv6")
	restore, err := r.forwarding()
	if err != nil {
		return err
	}
	defer func() {
		if r.Inherited.Owns() {
			restore()
		}
	}()
	cfg.Ready = func() {
		if r.TakeOver() {
			r.announcer.Ready()
			r.Ready(local)
		}
	}
	t := tunnel.NewRelay(cfg)
	if err := neighbors.start(t); err != nil {
		return err
	}
	r.running.Store(&running{t, neighbors, cfg.Device, conn, linkLocal})
	if n := t.Restored(); n > 0 {
		r.Log.Info("clients and flows of the process before are taken over", "clients", n, "kernel flows", len(legacy.Flows))
	}
	r.Log.Info("relaying", "interface", r.TUN, "local", local, "native prefixes", r.Natives)
	r.Runs()
	workers.Go("relay", t.Run)
	workers.Go("neighbors", neighbors.run)
	workers.Go("links", neighbors.followAll)
	workers.Go("network", func(ctx context.Context) error { return network.follow(ctx, t, neighbors) })
	workers.Go("interface", network.keeper.Run)
	return workers.Wait()
}

// openKernel opens the kernel's path, for which the relay needs more than for anything that comes after it. So then it confines
// itself. Its interface may have to be restored, and forwarding turned off again.
func (r *Relay) openKernel(local netip.AddrPort) (tunnel.Kernel, error) {
	path, err := r.OpenKernel(r.TUN, local, r.Natives, r.Log)
	if err == nil {
		r.Confine(confine.Policy{NetAdmin: true, BPF: path != nil, Settings: []string{netcfg.Settings}})
	}
	if path == nil {
		return nil, err
	}
	return path, nil
}

// open makes the UDP socket, the interface with its link-local address, and the routes for packets that come to this host.
func (r *Relay) open(linkLocal netip.Addr) (cfg tunnel.RelayConfig, conn *udp.Conn, err error) {
	if err := r.checkLinks(); err != nil {
		return cfg, nil, err
	}
	r.WaitsFor("its UDP port")
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind
	}
	if conn, err = r.listen(netip.AddrPortFrom(local, r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO}); err != nil {
		return cfg, nil, err
	}
	r.WaitsFor("the interface " + r.TUN)
	device, err := r.openDevice()
	if err != nil {
		conn.Close()
		return cfg, nil, err
	}
	if err := netcfg.RelayUp(r.TUN, teredo.MTU, linkLocal, r.Natives.Prefixes()...); err != nil {
		device.Close()
		conn.Close()
		return cfg, nil, err
	}
	if r.HostOnly {
		if err := netcfg.LimitSegments(r.TUN, udp.MostSegments(teredo.MTU)); err != nil {
			r.Log.Debug("super-packets may need two bursts", "error", err)
		}
	}
	return tunnel.RelayConfig{Device: device, Conn: conn, Capacity: r.bound(r.Log), Natives: r.Natives, PermitIPv4: r.PermitIPv4}, conn, nil
}

// randomLinkLocal returns a link-local address with a random interface identifier.
func randomLinkLocal() netip.Addr {
	b := [16]byte{0xfe, 0x80}
	rand.Read(b[8:])
	return netip.AddrFrom16(b)
}
