//go:build !small

package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/client"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/proxy"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/internal/secret"
	"github.com/teredo-suite/teredo/internal/traffic"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/teredonet"
)

// proxyCommands are the commands for what is not in a small build.
type proxyCommands struct {
	Proxy      proxyCommand `cmd:"" set:"control=${user_control}" help:"Give programs IPv6 without any privilege: SOCKS5, HTTP, fixed forwards, published services."`
	CheckProxy proxyCheck   `cmd:"" set:"control=${user_control}" help:"Find out whether a start of the proxy would succeed, without starting."`
}

type proxyStatus = proxy.Status

// proxyProgram is the proxy, and what the control socket tells of it.
type proxyProgram struct {
	*proxyCommand
	log      *slog.Logger
	state    *cli.State[status]
	secret   *secretFile
	announce announcer
	key      dnsupdate.Key // at the start
	traffic  hostTraffic
	confined cli.Confinement
	net      *teredonet.Net
	proxy    *proxy.Proxy
	started  chan struct{} // closed when net and proxy are set
}

// Run serves the proxy and status requests.
func (c *proxyCommand) Run(ctx context.Context, p *cli.Process) error {
	if err := p.ForUser(&c.RunFlags); err != nil {
		return err
	}
	m := &proxyProgram{proxyCommand: c, log: p.Logger(&c.RunFlags), state: newState(), started: make(chan struct{})}
	m.secret = &secretFile{flags: &c.clientFlags, log: m.log, started: m.started}
	questions, err := c.Peers(m.peers)
	if err != nil {
		return err
	}
	ping := func(ctx context.Context, to netip.Addr) (teredonet.PingResult, error) { return m.net.Ping(ctx, to) }
	questions["ping"] = control.Question{Do: pinger(m.started, ping), Circle: questions["peers"].Circle}
	if traffic.Supported {
		questions["traffic"] = control.Question{Answer: m.traffic.answer}
	}
	if m.key, err = c.loadKey(); err != nil {
		return cli.Usage(err)
	}
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &c.RunFlags, Role: "proxy", Log: m.log, State: m.state, Run: m.serve,
		Questions: questions,
		Reload:    cli.Reload{Flags: []string{"secret-file", "dns-key", "proxy-password-file"}, Take: m.reload},
	})
}

// serve sets the proxy up and runs it.
func (m *proxyProgram) serve(ctx context.Context) (err error) {
	users, err := m.users()
	if err != nil {
		return cli.Usage(err)
	}
	if m.announce, err = m.newAnnouncer(m.key, m.log, ""); err != nil {
		return err
	}
	config := m.listeners()
	config.Filter, config.Resolver, config.Users, config.Log, config.Ready = teredo.Filter{Permit: m.permitted()}, m.resolver(), users, m.log, m.ready
	if m.proxy, err = proxy.New(config); err != nil {
		return err
	}
	workers, ctx := worker.NewGroup(ctx)
	serving := make(chan struct{}) // all is open
	if m.net, err = m.up(ctx, serving); err != nil {
		return errors.Join(err, m.proxy.Close())
	}
	if err := m.proxy.Attach(m.net, m.services(), m.PublishFrom); err != nil {
		return errors.Join(err, m.proxy.Close(), m.net.Close())
	}
	defer m.traffic.open(m.StateFile("traffic"), "", m.net.Carried, m.log)()
	m.confined.To(m.needs(), &m.RunFlags, m.log)
	m.secret.set = m.net.SetSecret
	close(m.started)
	m.state.Runs(m.status)
	close(serving)
	m.log.Info("serving", "what", m.proxy.Listeners())
	workers.Go("proxy", m.proxy.Run)
	workers.Go("announcements", m.announce.run)
	workers.Go("traffic", func(ctx context.Context) error { return m.traffic.keep(ctx, func() {}) })
	workers.Go("IPv6", func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return m.net.Close()
		case <-m.net.Done():
			return m.net.Err()
		}
	})
	return workers.Wait()
}

// up starts IPv6. The service manager is told of it once the proxy serves.
func (m *proxyProgram) up(ctx context.Context, serving <-chan struct{}) (*teredonet.Net, error) {
	cfg := teredonet.Config{
		Servers: m.Server, Servers2: m.Server2, Bind: m.Bind.Addr, Port: m.Port, NewAddress: m.NewAddress, State: m.StateFile(""),
		RefreshInterval: m.RefreshInterval.fixed, DetermineInterval: m.RefreshInterval.auto, ConePhase: m.ConePhase, Disable: m.Disable,
		NoLocalDiscovery: !m.LocalDiscovery, NoPortMapping: !m.PortMapping, Permit: m.permitted(), UDPGSO: m.UDPGSO, UDPGRO: m.UDPGRO,
		Addresses: m.announce.tell, Log: m.log,
		Changed: func(state string, ready bool) {
			select {
			case <-serving:
				changed(state, ready)
			case <-ctx.Done():
			}
		},
	}
	var err error
	if cfg.ClientID, cfg.Secret, err = m.secret.load(); err != nil {
		return nil, cli.Usage(err)
	}
	return teredonet.Start(cfg)
}

// ready waits until IPv6 is usable.
func (m *proxyProgram) ready(ctx context.Context) error {
	select {
	case <-m.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := m.net.WaitAddr(ctx, netip.Addr{})
	return err
}

// resolver finds the addresses of names that clients ask for.
func (m *proxyProgram) resolver() proxy.Resolver {
	if !m.Resolver.IsValid() {
		return net.DefaultResolver
	}
	return resolve.NewServer(m.Resolver.AddrPort, func(ctx context.Context, network, address string) (net.Conn, error) {
		if err := m.ready(ctx); err != nil {
			return nil, err
		}
		return m.net.DialContext(ctx, network, address)
	})
}

// needs is what the proxy needs that is set up: to look up servers and names, and to connect to services, name servers and the gateway.
func (m *proxyProgram) needs() confine.Policy {
	p := confine.Policy{Connect: true}
	named := slices.ContainsFunc(slices.Concat(m.Server, m.Server2), client.IsName)
	if named || m.DNSUpdate != "" || !m.Resolver.IsValid() || len(m.Publish) > 0 {
		p.Replaced = append(resolve.Files(), "/etc/nsswitch.conf")
	}
	for _, file := range []string{m.SecretFile, m.DNSKey, m.ProxyPasswordFile} {
		if file != "" {
			p.Read = append(p.Read, file)
		}
	}
	return p
}

// users are those who may use SOCKS and HTTP; nil: everybody who can connect.
func (c *proxyCommand) users() ([]secret.Client, error) {
	if c.ProxyPasswordFile == "" {
		return nil, nil
	}
	return secret.Load(c.ProxyPasswordFile)
}

// reload reads the files with secrets again, and reports whether there are any.
func (m *proxyProgram) reload(ctx context.Context) bool {
	something := m.secret.reload(ctx)
	select {
	case <-m.started:
		something = m.announce.reloadKey(&m.announceFlags, m.log) || something
	case <-ctx.Done():
	}
	if m.ProxyPasswordFile == "" {
		return something
	}
	users, err := m.users()
	if err != nil {
		m.log.Error("cannot read the passwords again; keeping those in use", "error", err)
		return true
	}
	select {
	case <-m.started:
		m.proxy.SetUsers(users)
	case <-ctx.Done():
	}
	return true
}

// status is what the running proxy tells.
func (m *proxyProgram) status(ctx context.Context) (status, error) {
	s, err := m.net.Status(ctx)
	return status{ClientStatus: s, DNS: m.announce.status(), Traffic: m.traffic.summary(), Confined: m.confined.String(), Proxy: m.proxy.Status()}, err
}

func (m *proxyProgram) peers(ctx context.Context) (any, error) {
	select {
	case <-m.started:
		return m.net.Peers(ctx)
	default:
		return []peer.Info{}, nil
	}
}

// listeners is the part of the configuration that says where to listen.
func (c *proxyCommand) listeners() proxy.Config {
	listeners := proxy.Config{SOCKS: addrPorts(c.SOCKS), HTTP: addrPorts(c.HTTP)}
	for _, f := range c.Forward {
		listeners.Forwards = append(listeners.Forwards, f.ForwardTo)
	}
	return listeners
}

func (m *proxyProgram) services() (all []proxy.Service) {
	for _, f := range m.Publish {
		all = append(all, f.Service)
	}
	return all
}

func addrPorts(local []localAddress) (all []netip.AddrPort) {
	for _, a := range local {
		all = append(all, a.AddrPort)
	}
	return all
}
