package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/client"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/peer"
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
	return r.clientFlags.check()
}

// check finds what is wrong with the flags that run and proxy have.
func (f *clientFlags) check() error {
	if len(f.Server) == 0 {
		return errors.New("no server is given: write one such as teredo.example.net or 192.0.2.1")
	}
	if len(f.Server2) > len(f.Server) {
		return fmt.Errorf("--server2 is given %d times, but --server only %d times", len(f.Server2), len(f.Server))
	}
	if err := f.options().Check(); err != nil {
		return err
	}
	return f.announceFlags.check()
}

// permitted are the special-use ranges that the flags open.
func (f *clientFlags) permitted() []netip.Prefix {
	return slices.Concat[[]netip.Prefix](f.PermitIPv4, f.PermitIPv6)
}

// options are what the flags say about the client.
func (f *clientFlags) options() *client.Options {
	return &client.Options{
		Servers: f.Server, Servers2: f.Server2, Permit: f.permitted(), Bind: f.Bind.Addr, Port: f.Port,
		UDP: udp.Options{GSO: f.UDPGSO, GRO: f.UDPGRO}, NewAddress: f.NewAddress,
		Interval: f.RefreshInterval.fixed, DetermineInterval: f.RefreshInterval.auto, ConePhase: f.ConePhase, Extensions: client.Extensions(f.Disable),
		LocalDiscovery: f.LocalDiscovery, PortMapping: f.PortMapping, State: f.StateFile(""),
	}
}

// options are what the flags say about a client with an interface.
func (r *run) options() *client.Options {
	o := r.clientFlags.options()
	o.Interface, o.Yield = r.TUN, !r.Always
	return o
}

// program is what the client is told to do, and what the control socket tells of it.
type program struct {
	run      *run
	log      *slog.Logger
	options  *client.Options
	host     *client.Host
	state    *cli.State[status]
	secret   *secretFile
	key      dnsupdate.Key // at the start
	announce announcer
	traffic  hostTraffic
	confined cli.Confinement
	running  *tunnel.Client
	started  chan struct{} // closed when running is set
}

func start(ctx context.Context, p *cli.Process, r *run) error {
	c := &program{run: r, log: p.Logger(&r.RunFlags), options: r.options(), state: newState(), started: make(chan struct{})}
	c.options.Log = c.log
	var err error
	c.secret = &secretFile{flags: &r.clientFlags, log: c.log, started: c.started}
	if c.options.ClientID, c.options.Secret, err = c.secret.load(); err != nil {
		return cli.Usage(err)
	}
	if c.key, err = r.loadKey(); err != nil {
		return cli.Usage(err)
	}
	questions, err := r.Peers(c.peers)
	if err != nil {
		return err
	}
	ping := func(ctx context.Context, to netip.Addr) (tunnel.PingResult, error) { return c.running.Ping(ctx, to) }
	questions["ping"] = control.Question{Do: pinger(c.started, ping), Circle: questions["peers"].Circle}
	if traffic.Supported {
		questions["traffic"] = control.Question{Answer: c.traffic.answer}
	}
	c.host = client.NewHost(*c.options)
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &r.RunFlags, Log: c.log, State: c.state, Run: c.serve,
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
func (c *program) serve(ctx context.Context) error {
	c.state.WaitsFor("the interface " + c.run.TUN)
	device, err := c.run.openDevice(c.log)
	if err != nil {
		return err
	}
	defer device.Close()
	if c.announce, err = c.run.newAnnouncer(c.key, c.log, c.run.TUN); err != nil {
		return err
	}
	workers, ctx := worker.NewGroup(ctx)
	changes, err := netcfg.Watch(ctx, c.run.TUN) // ends with any of the workers
	if err != nil {
		return err
	}
	cfg, err := c.config(device)
	if err != nil {
		return err
	}
	c.running = tunnel.NewClient(cfg)
	c.secret.set = c.running.SetSecret
	defer c.traffic.open(c.run.StateFile("traffic"), c.run.TUN, c.running.Carried, c.log)()
	close(c.started)
	c.state.Runs(c.status)
	keeper := netcfg.NewKeeper(c.log, c.running.RestoreInterface)
	running, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	workers.Go("client", func(context.Context) error { return c.running.Run(running) })
	workers.Go("traffic", func(ctx context.Context) error { return c.traffic.keep(ctx, end) })
	workers.Go("network", func(ctx context.Context) error {
		return c.host.Follow(ctx, changes, c.running, keeper.Disturbed)
	})
	workers.Go("interface", keeper.Run)
	workers.Go("last run", c.host.Keep)
	workers.Go("announcements", c.announce.run)
	return workers.Wait()
}

// openDevice makes the interface, and notes the name that it has.
func (r *run) openDevice(log *slog.Logger) (tun.Device, error) {
	queues, name, err := r.OpenDevice(r.TUN, 1)
	if err != nil {
		return nil, err
	}
	device := queues[0]
	r.TUN = name
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
func (c *program) status(ctx context.Context) (status, error) {
	s, err := c.running.Status(ctx)
	if s.NativeIPv6 != "" {
		s.WaitingFor += "; --always keeps Teredo up"
	}
	return status{ClientStatus: s, DNS: c.announce.status(), Traffic: c.traffic.summary(), Confined: c.confined.String()}, err
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
func (c *program) openKernel(device tun.Device) (tunnel.Kernel, error) {
	path, err := c.run.OpenKernel(c.run.TUN, []tun.Device{device}, []*udp.Conn{c.host.ServicePort()}, nil, c.log)
	if err == nil {
		c.confined.To(c.needs(path != nil), &c.run.RunFlags, c.log)
	}
	if path == nil {
		return nil, err
	}
	return path, nil
}

// needs is what a client needs that is set up: to configure its interface, to look up servers, and to ask the gateway (UPnP)
// and name servers by TCP.
func (c *program) needs(kernel bool) confine.Policy {
	p := confine.Policy{
		NetAdmin: true, BPF: kernel, Connect: true,
		Settings: []string{netcfg.Settings},
	}
	if c.run.DNSUpdate != "" || slices.ContainsFunc(slices.Concat(c.run.Server, c.run.Server2), client.IsName) {
		p.Replaced = resolve.Files() // as DHCP clients and network managers do
	}
	for _, file := range []string{c.run.SecretFile, c.run.DNSKey} {
		if file != "" {
			p.Read = append(p.Read, file)
		}
	}
	return p
}

// config is the configuration of a client that has its interface.
func (c *program) config(device tun.Device) (tunnel.ClientConfig, error) {
	c.state.WaitsFor("the addresses of this host, and the list of port mappings that an earlier run has left")
	cfg, err := c.host.Config()
	cfg.Device, cfg.Changed = device, changed
	cfg.Kernel = func() (tunnel.Kernel, error) { return c.openKernel(device) }
	cfg.Configure = func(old, new netip.Addr) error {
		if new.IsValid() {
			c.host.Note(new)
		}
		return c.run.configure(old, new)
	}
	cfg.Addresses = c.announce.tell
	cfg.Restore = func(address netip.Addr) ([]string, error) { return netcfg.RestoreClient(c.run.TUN, address) }
	return cfg, err
}

func (c *program) peers(ctx context.Context) (any, error) {
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
