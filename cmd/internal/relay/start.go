package relay

import (
	"context"
	"crypto/rand"
	"io"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Run sets the relay up and runs it until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	linkLocal, legacy := r.inherit(randomLinkLocal())
	devices, conns, err := r.open(linkLocal)
	if err != nil {
		return err
	}
	defer closeAll(devices)
	defer closeAll(conns)
	cfg := tunnel.RelayConfig{Devices: devices, Capacity: r.bound(r.Log), Natives: r.Natives, PermitIPv4: r.PermitIPv4}
	for _, c := range conns {
		cfg.Conns = append(cfg.Conns, c)
	}
	cfg.Legacy = legacy
	neighbors, err := r.openNeighbors()
	if err != nil {
		return err
	}
	defer neighbors.close()
	local := conns[0].LocalAddr()
	cfg.Kernel = func() (tunnel.Kernel, error) { return r.openKernel(devices, conns) }
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
	r.running.Store(&running{t, neighbors, devices, conns, linkLocal})
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
func (r *Relay) openKernel(devices []tun.Device, conns []*udp.Conn) (tunnel.Kernel, error) {
	path, err := r.OpenKernel(r.TUN, devices, conns, r.Natives, r.Log)
	if err == nil {
		r.Confine(confine.Policy{NetAdmin: true, BPF: path != nil, Settings: []string{netcfg.Settings}})
	}
	if path == nil {
		return nil, err
	}
	return path, nil
}

// workers is how many workers carry packets each way, with a queue of the interface and a socket of the port each. On two processors a
// second one each way has no processor that the first ones, and the kernel's own work, leave idle. With more, all workers together have a
// processor each, up to sixteen.
func (r *Relay) workers() int { return min(max(r.Processors/2, 1), 8) }

// open makes the UDP sockets, the interface with its link-local address, and the routes for packets that come to this host.
func (r *Relay) open(linkLocal netip.Addr) (devices []tun.Device, conns []*udp.Conn, err error) {
	if err := r.checkLinks(); err != nil {
		return nil, nil, err
	}
	r.WaitsFor("its UDP port")
	local := netip.IPv4Unspecified()
	if r.Bind.IsValid() {
		local = r.Bind
	}
	if conns, err = r.listen(netip.AddrPortFrom(local, r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO}); err != nil {
		return nil, nil, err
	}
	r.WaitsFor("the interface " + r.TUN)
	if devices, err = r.openDevice(); err != nil {
		closeAll(conns)
		return nil, nil, err
	}
	if err := netcfg.RelayUp(r.TUN, teredo.MTU, linkLocal, r.Natives.Prefixes()...); err != nil {
		closeAll(devices)
		closeAll(conns)
		return nil, nil, err
	}
	if r.HostOnly {
		if err := netcfg.LimitSegments(r.TUN, udp.MostSegments(teredo.MTU)); err != nil {
			r.Log.Debug("super-packets may need two bursts", "error", err)
		}
	}
	return devices, conns, nil
}

// closeAll closes queues or sockets, those that are open still.
func closeAll[C io.Closer](all []C) {
	for _, c := range all {
		c.Close()
	}
}

// randomLinkLocal returns a link-local address with a random interface identifier.
func randomLinkLocal() netip.Addr {
	b := [16]byte{0xfe, 0x80}
	rand.Read(b[8:])
	return netip.AddrFrom16(b)
}
