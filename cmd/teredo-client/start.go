package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/portmap"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Check finds what is wrong with the flags, as far as that shows without the network.
func (r *run) Check() error {
	if err := cli.CheckName(r.TUN); err != nil {
		return err
	}
	if len(r.Server) == 0 {
		return errors.New("no server is given: write one such as teredo.example.net or 192.0.2.1")
	}
	if len(r.Server2) > len(r.Server) {
		return fmt.Errorf("--server2 is given %d times, but --server only %d times", len(r.Server2), len(r.Server))
	}
	for n, host := range r.Server {
		if err := r.checkServer(host, r.server2(n)); err != nil {
			return err
		}
	}
	return r.announceFlags.check()
}

// checkServer checks the names of a server, of which the second may be empty; and addresses. Those that a name has are checked
// when they are known.
func (r *run) checkServer(host, host2 string) error {
	cfg := qualify.Config{Filter: teredo.Filter{Permit: r.PermitIPv4}}
	var err error
	if cfg.Server, err = parseHost(host); err != nil {
		return err
	}
	if host2 != "" {
		if cfg.Server2, err = parseHost(host2); err != nil {
			return err
		}
	}
	if cfg.Server.IsValid() {
		_, err = qualify.New(cfg)
	}
	return err
}

// parseHost returns the address that a server is given by, zero for a name.
func parseHost(host string) (netip.Addr, error) {
	if err := resolve.Check(host); err != nil {
		return netip.Addr{}, fmt.Errorf("server %q: %w", host, err)
	}
	addr, _ := netip.ParseAddr(host) // what is no address is a name now
	return addr, nil
}

// isName reports whether a server is given by a name, and not by an address.
func isName(host string) bool {
	addr, err := parseHost(host)
	return err == nil && !addr.IsValid()
}

// server2 is the second address of the n-th server, empty if it was not given.
func (r *run) server2(n int) string {
	if n < len(r.Server2) {
		return r.Server2[n]
	}
	return ""
}

// client is the program: what it is told to do, and what the control socket tells of it.
type client struct {
	run      *run
	cfg      tunnel.ClientConfig
	state    *cli.State[status]
	secure   bool          // there is a secret in use; of reloadSecret
	key      dnsupdate.Key // at the start
	memory   *memory
	announce announcer
	traffic  *traffic.Keeper // nil: no history of the host's traffic is kept
	confined cli.Confinement
	conn     *udp.Conn // the service port, when it is open
	running  *tunnel.Client
	started  chan struct{} // closed when running is set
}

func start(ctx context.Context, p *cli.Process, r *run) error {
	c := &client{run: r, state: newState(), started: make(chan struct{})}
	c.cfg = tunnel.ClientConfig{Log: p.Logger(&r.RunFlags), ConePhase: r.ConePhase, NativeAddress: true, Extensions: extensions(r.Disable)}
	var err error
	if c.cfg.ClientID, c.cfg.Secret, err = r.loadSecret(c.cfg.Log); err != nil {
		return cli.Usage(err)
	}
	c.secure = c.cfg.Secret != nil
	if c.key, err = r.loadKey(); err != nil {
		return cli.Usage(err)
	}
	c.cfg.Permit = r.permit()
	questions, err := r.Peers(c.peers)
	if err != nil {
		return err
	}
	questions["ping"] = control.Question{Do: c.ping, Circle: questions["peers"].Circle}
	if traffic.Supported {
		questions["traffic"] = control.Question{Answer: c.hostTraffic}
	}
	c.memory = r.remember(c.cfg.Log)
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &r.RunFlags, Log: c.cfg.Log, State: c.state, Run: c.serve,
		Questions: questions,
		Reload:    c.reloaded(),
	})
}

// newState is the state until the client runs.
func newState() *cli.State[status] {
	unknown := qualify.Unknown.String()
	return cli.NewState(
		status{ClientStatus: tunnel.ClientStatus{
			State: qualify.Initial.String(), NAT: unknown, Mapping: unknown, Filtering: unknown,
			Sequential: unknown, Hairpinning: unknown, PortMapping: "none", HeardSeconds: -1,
		}},
		func(s *status) (state, waitingFor *string) { return &s.State, &s.WaitingFor },
	)
}

// serve sets the client up and runs it.
func (c *client) serve(ctx context.Context) error {
	var err error
	if c.announce, err = c.run.newAnnouncer(c.key, c.cfg.Log); err != nil {
		return err
	}
	c.state.WaitsFor("the interface " + c.run.TUN)
	device, err := c.run.openDevice(c.cfg.Log)
	if err != nil {
		return err
	}
	defer device.Close()
	c.cfg.Device = device
	workers, ctx := worker.NewGroup(ctx)
	changes, err := netcfg.Watch(ctx, c.run.TUN) // ends with any of the workers
	if err != nil {
		return err
	}
	if err := c.complete(); err != nil {
		return err
	}
	c.running = tunnel.NewClient(c.cfg)
	defer c.openTraffic()()
	close(c.started)
	c.state.Runs(c.status)
	keeper := netcfg.NewKeeper(c.cfg.Log, c.running.RestoreInterface)
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	workers.Go("client", func(context.Context) error { return c.running.Run(running) })
	workers.Go("traffic", func(ctx context.Context) error { return c.keepTraffic(ctx, end) })
	workers.Go("network", func(ctx context.Context) error { return c.follow(ctx, changes, keeper) })
	workers.Go("interface", keeper.Run)
	workers.Go("last run", c.memory.keep)
	workers.Go("announcements", c.announce.run)
	return workers.Wait()
}

// openDevice makes the interface.
func (r *run) openDevice(log *slog.Logger) (tun.Device, error) {
	device, err := r.OpenDevice(r.TUN)
	if err != nil {
		return nil, err
	}
	if err := netcfg.ClientUp(r.TUN, teredo.MTU); err != nil {
		device.Close()
		return nil, err
	}
	if err := netcfg.LimitSegments(r.TUN, udp.MostSegments(teredo.MTU)); err != nil {
		log.Debug("super-packets may need two bursts", "error", err)
	}
	return device, nil
}

// status is what the running client tells, with what only the program knows.
func (c *client) status(ctx context.Context) (status, error) {
	s, err := c.running.Status(ctx)
	if s.NativeIPv6 != "" {
		s.WaitingFor += "; --always keeps Teredo up"
	}
	told := status{ClientStatus: s, DNS: c.announce.status(), Confined: c.confined.String()}
	if c.traffic != nil {
		told.Traffic = c.traffic.Report().Summary()
	}
	return told, err
}

// changed tells the service manager.
func changed(state string, ready bool) {
	if ready {
		cli.Ready(state)
	} else {
		cli.StatusLine(state)
	}
}

// openKernel opens the kernel's path, for which the client needs more than for anything that comes after it. So then it confines
// itself.
func (c *client) openKernel() (tunnel.Kernel, error) {
	path, err := c.run.OpenKernel(c.run.TUN, c.conn.LocalAddr(), nil, tunnel.MostKernelFlows, c.cfg.Log)
	if err == nil {
		c.confined.To(c.needs(path != nil), &c.run.RunFlags, c.cfg.Log)
	}
	if path == nil {
		return nil, err
	}
	return path, nil
}

// needs is what a client needs that is set up: to configure its interface, to look up servers, and to ask the gateway (UPnP)
// and name servers by TCP.
func (c *client) needs(kernel bool) confine.Policy {
	p := confine.Policy{
		NetAdmin: true, BPF: kernel, Connect: true,
		Settings: []string{netcfg.Settings},
	}
	if c.run.DNSUpdate != "" || slices.ContainsFunc(slices.Concat(c.run.Server, c.run.Server2), isName) {
		p.Replaced = resolve.Files() // as DHCP clients and network managers do
	}
	for _, file := range []string{c.run.SecretFile, c.run.DNSKey} {
		if file != "" {
			p.Read = append(p.Read, file)
		}
	}
	return p
}

// complete completes the configuration of a client that has its interface.
func (c *client) complete() (err error) {
	r, cfg := c.run, &c.cfg
	c.state.WaitsFor("the addresses of this host")
	if cfg.Network, err = r.network(); err != nil {
		return err
	}
	cfg.Listen, cfg.Kernel, cfg.Local, cfg.Changed = c.listen, c.openKernel, c.local, changed
	cfg.Servers = r.lookups()
	cfg.Last = c.memory.address()
	cfg.Configure = func(old, new netip.Addr) error {
		if new.IsValid() {
			c.memory.note(c.conn.LocalAddr().Port(), new)
		}
		return r.configure(old, new)
	}
	cfg.Addresses = c.announce.tell
	cfg.Restore = func(address netip.Addr) ([]string, error) { return netcfg.RestoreClient(r.TUN, address) }
	cfg.RandomPort = r.openRandomPort
	r.setRefresh(cfg)
	if r.LocalDiscovery {
		cfg.Discovery = func(local netip.Addr) (tunnel.Conn, error) {
			return udp.ListenMulticast(netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port), local)
		}
	}
	if r.PortMapping {
		c.state.WaitsFor("the list of port mappings that an earlier run has left")
		cfg.PortMap = portmap.NewKeeper(netcfg.Gateway, r.StateFile("portmap"), cfg.Log).Keep
	}
	return nil
}

// local finds the local address and port that packets to a server leave from.
func (c *client) local(server netip.Addr) netip.AddrPort {
	local := c.conn.LocalAddr()
	if !local.Addr().IsUnspecified() {
		return local
	}
	addr, err := netcfg.LocalIPv4(server)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, local.Port())
}

// openRandomPort opens a UDP port that the kernel chooses.
func (r *run) openRandomPort() (tunnel.Conn, error) {
	return udp.Listen(netip.AddrPortFrom(r.bindAddr(), 0), udp.Options{})
}

// listen opens the service port: the configured one, or that of the run before if it is free.
func (c *client) listen() (tunnel.Conn, error) {
	r := c.run
	open := func(port uint16) (*udp.Conn, error) {
		return udp.Listen(netip.AddrPortFrom(r.bindAddr(), port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO})
	}
	conn, err := open(cmp.Or(r.Port, c.memory.last.Port))
	if errors.Is(err, syscall.EADDRINUSE) && r.Port == 0 {
		conn, err = open(0)
	}
	if err != nil {
		return nil, err
	}
	c.conn = conn
	return conn, nil
}

// follow tells the client about changes of the network, and the keeper about those of the interface.
func (c *client) follow(ctx context.Context, changes <-chan netcfg.Change, keeper *netcfg.Keeper) error {
	for change := range changes {
		if change.Own {
			keeper.Disturbed()
		}
		if change == (netcfg.Change{Own: true}) {
			continue
		}
		network, err := c.run.network()
		if err != nil {
			c.cfg.Log.Error("cannot read the state of the network", "error", err)
			continue
		}
		_ = c.running.NetworkChanged(ctx, network) // fails only when the client has stopped
	}
	return nil
}

// network is what the client needs to know about the network as it is now.
func (r *run) network() (n tunnel.Network, err error) {
	if n.Broadcasts, err = netcfg.Broadcasts(); err != nil {
		return n, err
	}
	if n.Subnets, err = netcfg.Subnets(); err != nil {
		return n, err
	}
	if !r.Always {
		n.Native, _, err = netcfg.NativeIPv6(r.TUN)
	}
	return n, err
}

func (c *client) peers(ctx context.Context) (any, error) {
	select {
	case <-c.started:
		return c.running.Peers(ctx)
	default:
		return []peer.Info{}, nil
	}
}

// configure gives the interface its Teredo address, or takes it away.
func (r *run) configure(old, new netip.Addr) error {
	if new.IsValid() {
		return netcfg.SetAddress(r.TUN, new)
	}
	return netcfg.ClearAddress(r.TUN, old)
}

// lookups finds the addresses of each configured server.
func (r *run) lookups() []tunnel.Lookup {
	var lookups []tunnel.Lookup
	for n, host := range r.Server {
		lookups = append(lookups, func(ctx context.Context, current tunnel.Servers) (found tunnel.Servers, ttl time.Duration, err error) {
			found.Primary, ttl, err = resolveHost(ctx, host, current.Primary)
			host2 := r.server2(n)
			if err != nil || host2 == "" {
				return found, ttl, err
			}
			var ttl2 time.Duration
			found.Secondary, ttl2, err = resolveHost(ctx, host2, current.Secondary)
			if ttl == 0 || ttl2 > 0 && ttl2 < ttl {
				ttl = ttl2
			}
			return found, ttl, err
		})
	}
	return lookups
}

// resolveHost finds an address of a server. Of several it keeps the one in use, as another would change our IPv6 address.
func resolveHost(ctx context.Context, host string, inUse netip.Addr) (netip.Addr, time.Duration, error) {
	var resolver resolve.Resolver
	addrs, ttl, err := resolver.Lookup(ctx, host)
	switch {
	case errors.Is(err, fs.ErrPermission): // the folder holds secrets, so only the file that was there is allowed
		return netip.Addr{}, 0, fmt.Errorf("%w: the file has been replaced since the start: restart the client, which then may read it", err)
	case err != nil:
		return netip.Addr{}, 0, err
	case slices.Contains(addrs, inUse):
		return inUse, ttl, nil
	}
	return addrs[0], ttl, nil
}
