package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/portmap"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/peer"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// bindRetry is how often the client looks whether the local address that it was told to use is there.
const bindRetry = 2 * time.Second

// check finds what is wrong with the flags, as far as that shows without the network.
func (r *run) check() error {
	if err := tunnel.CheckName(r.TUN); err != nil {
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
	return nil
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

// server2 is the second address of the n-th server, empty if it was not given.
func (r *run) server2(n int) string {
	if n < len(r.Server2) {
		return r.Server2[n]
	}
	return ""
}

// client is what the status requests see: nothing but a sentence until the UDP socket could be made.
type client struct {
	running atomic.Pointer[tunnel.Client]
	waiting atomic.Pointer[error]
	started chan struct{} // closed when running is set
	secret  *secretFile
}

func start(ctx context.Context, r *run) error {
	cfg := tunnel.ClientConfig{Log: r.Logger(), ConePhase: r.ConePhase}
	r.setRefresh(&cfg)
	secret, err := r.openSecret(&cfg)
	if err != nil {
		return err
	}
	socket, err := control.Listen(r.Control)
	if err != nil {
		return err
	}
	defer socket.Close()
	device, err := tunnel.OpenDevice(r.TUN, r.TUNOffload)
	if err != nil {
		return err
	}
	defer device.Close()
	if err := netcfg.ClientUp(r.TUN, teredo.MTU); err != nil {
		return err
	}
	if err := netcfg.LimitSegments(r.TUN, udp.MostSegments(teredo.MTU)); err != nil {
		cfg.Log.Debug("super-packets may leave in two bursts", "error", err)
	}
	tasks, ctx := errgroup.WithContext(ctx)
	changes, err := netcfg.Watch(ctx, r.TUN) // ends with any of the tasks
	if err != nil {
		return err
	}
	cfg.Device = device
	cfg.Servers, cfg.PermitIPv4 = r.lookups(), r.PermitIPv4
	cfg.Configure, cfg.Changed = r.configure, cli.StatusLine
	if r.LocalDiscovery {
		cfg.Discovery = func(local netip.Addr) (tunnel.Conn, error) {
			return udp.ListenMulticast(netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port), local)
		}
	}
	c := client{secret: secret, started: make(chan struct{})}
	tasks.Go(func() error {
		return control.Serve(ctx, socket, map[string]func(context.Context) (any, error){"status": c.status, "peers": c.peers})
	})
	tasks.Go(func() error { return c.run(ctx, r, cfg) })
	tasks.Go(func() error { return r.ServeProfiles(ctx) })
	tasks.Go(func() error { c.follow(ctx, r, cfg.Log, changes); return nil })
	cli.Ready("Qualifying with " + r.Server[0])
	return tasks.Wait()
}

// run waits until the service port can be opened, and runs the client.
func (c *client) run(ctx context.Context, r *run, cfg tunnel.ClientConfig) error {
	conn, err := c.listen(ctx, r, cfg)
	if err != nil {
		return err
	}
	defer conn.Close()
	cfg.Conn = conn
	if cfg.Kernel, err = tunnel.OpenKernel(r.TUN, conn.LocalAddr(), r.KernelPath, cfg.Log); err != nil {
		return err
	}
	if cfg.Network, err = r.network(); err != nil {
		return err
	}
	cfg.Local = func(server netip.Addr) netip.AddrPort {
		local := conn.LocalAddr()
		if !local.Addr().IsUnspecified() {
			return local
		}
		addr, err := netcfg.LocalIPv4(server)
		if err != nil {
			return netip.AddrPort{}
		}
		return netip.AddrPortFrom(addr, local.Port())
	}
	cfg.Extensions = extensions(r.Disable)
	if r.PortMapping {
		cfg.PortMap = portmap.NewKeeper(netcfg.Gateway, r.portMapFile(), cfg.Log).Keep
	}
	cfg.RandomPort = r.openRandomPort
	t := tunnel.NewClient(cfg)
	c.running.Store(t)
	close(c.started)
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return t.Run(ctx) })
	tasks.Go(func() error { return c.secret.follow(ctx, t) })
	return tasks.Wait()
}

// openRandomPort opens a UDP port that the kernel chooses.
func (r *run) openRandomPort() (tunnel.Conn, error) {
	return udp.Listen(netip.AddrPortFrom(r.bindAddr(), 0), udp.Options{})
}

// listen opens the service port. An address that no interface has may still come, for instance by DHCP.
func (c *client) listen(ctx context.Context, r *run, cfg tunnel.ClientConfig) (*udp.Conn, error) {
	for {
		conn, err := udp.Listen(netip.AddrPortFrom(r.bindAddr(), r.Port), udp.Options{GSO: r.UDPGSO, GRO: r.UDPGRO})
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return conn, err
		}
		if c.waiting.Swap(&err) == nil {
			cfg.Log.Warn("cannot open the UDP port yet, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(bindRetry):
		}
	}
}

// follow tells the client about changes of the network.
func (c *client) follow(ctx context.Context, r *run, log *slog.Logger, changes <-chan netcfg.Change) {
	select {
	case <-c.started: // what changes until then waits in the channel
	case <-ctx.Done():
		return
	}
	for range changes {
		network, err := r.network()
		if err != nil {
			log.Error("cannot read the state of the network", "error", err)
			continue
		}
		_ = c.running.Load().NetworkChanged(ctx, network) // fails only when the client has stopped
	}
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

func (c *client) status(ctx context.Context) (any, error) {
	if t := c.running.Load(); t != nil {
		return t.Status(ctx)
	}
	unknown := qualify.Unknown.String()
	s := tunnel.ClientStatus{
		State: qualify.Initial.String(), NAT: unknown, Mapping: unknown, Filtering: unknown,
		Sequential: unknown, Hairpinning: unknown, PortMapping: "none", HeardSeconds: -1,
	}
	if err := c.waiting.Load(); err != nil {
		s.LastError, s.WaitingFor = (*err).Error(), "the local address"
	}
	return s, nil
}

func (c *client) peers(ctx context.Context) (any, error) {
	if t := c.running.Load(); t != nil {
		return t.Peers(ctx)
	}
	return []peer.Info{}, nil
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
	case err != nil:
		return netip.Addr{}, 0, err
	case slices.Contains(addrs, inUse):
		return inUse, ttl, nil
	}
	return addrs[0], ttl, nil
}
