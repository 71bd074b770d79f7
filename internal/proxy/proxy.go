// Package proxy lets programs use an IPv6 network that the kernel knows nothing of: by SOCKS5, by HTTP, and by fixed forwards; and it
// lets hosts of that network reach services of this host.
//
// Whoever can connect to a proxy can have it connect to others. So there is one place where targets are checked (dial), and bounds
// for all that clients and strangers can make it hold.
package proxy

import (
	"cmp"
	"container/list"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/secret"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
)

// Network is the IPv6 network. Its methods are those of package net, for the networks tcp6 and udp6 and numeric addresses.
type Network interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
}

// Config says what a proxy does.
type Config struct {
	Ready    func(context.Context) error // waits until IPv6 is usable; the error says why it is not. Nil: it always is
	Filter   teredo.Filter               // which addresses are targets
	Resolver Resolver
	Log      *slog.Logger

	SOCKS, HTTP []netip.AddrPort // where to listen for clients
	Forwards    []ForwardTo

	Users []secret.Client // who may use SOCKS and HTTP; nil: everybody who can connect

	Limits Limits        // zero: DefaultLimits
	Idle   time.Duration // how long a TCP connection may be silent; zero: DefaultIdle
}

// ForwardTo is a local address from which connections go to a fixed target.
type ForwardTo struct {
	UDP    bool
	Local  netip.AddrPort
	Target netip.AddrPort
}

// Service is a port of the IPv6 address from which connections go to a local service.
type Service struct {
	UDP  bool
	Port uint16
	Host string // address or name, and port
}

const (
	DefaultIdle      = 2*time.Hour + 4*time.Minute // as long as a NAT keeps a TCP connection at least (RFC 5382 REQ-5)
	handshakeTimeout = 10 * time.Second            // for a client to say what it wants
	serviceTimeout   = 10 * time.Second            // for a published service to accept a connection
	datagramIdle     = 2 * time.Minute             // as long as a NAT keeps a UDP mapping at least (RFC 4787 REQ-5)
)

// DefaultLimits are the limits of a proxy that is not told others.
func DefaultLimits() Limits { return Limits{Connections: 4096, PerSource: 256, Handshakes: 1024} }

// keepAlive has a client noticed within two minutes that has vanished.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 60 * time.Second, Interval: 15 * time.Second, Count: 4}
}

// Proxy is a proxy with its local sockets open.
type Proxy struct {
	cfg        Config
	began      time.Time
	network    Network
	allowed    []netip.Prefix  // who may use published services; none: everybody may
	ctx        context.Context // of all connections
	end        func()
	servers    []server
	counts     counts
	admission  admission
	handshakes handshakes
	buffers    buffers
	users      atomic.Pointer[map[string]user]
	guesses    *budget.Keyed
	crew       *crew
	dismiss    func()         // ends the crew, once
	tasks      sync.WaitGroup // of connections
}

// server is what the proxy serves at one address.
type server struct {
	name string // for the status
	run  func(context.Context) error
	io.Closer
}

// New opens the local addresses of a proxy. Attach and Run must follow, or Close.
func New(cfg Config) (*Proxy, error) {
	if cfg.Limits == (Limits{}) {
		cfg.Limits = DefaultLimits()
	}
	cfg.Idle = cmp.Or(cfg.Idle, DefaultIdle)
	p := &Proxy{cfg: cfg, began: time.Now(), guesses: budget.NewKeyed(1024, guessing())}
	p.crew = newCrew()
	p.dismiss = sync.OnceFunc(p.crew.dismiss)
	p.ctx, p.end = context.WithCancel(context.Background())
	p.admission = admission{most: cfg.Limits, sources: make(map[netip.Addr]int)}
	p.handshakes = handshakes{most: cfg.Limits.Handshakes, counts: &p.counts, places: make(map[net.Conn]*list.Element)}
	p.SetUsers(cfg.Users)
	if err := p.open(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// open opens the local addresses.
func (p *Proxy) open() error {
	for _, at := range p.cfg.SOCKS {
		if err := p.listen("SOCKS", at, func(l net.Listener) error { return p.accept(l, p.serveSOCKS) }); err != nil {
			return err
		}
	}
	for _, at := range p.cfg.HTTP {
		if err := p.listen("HTTP", at, p.serveHTTP); err != nil {
			return err
		}
	}
	for _, f := range p.cfg.Forwards {
		if err := p.openForward(f); err != nil {
			return err
		}
	}
	return nil
}

// Close ends all connections, and closes what is open. Run does so at its end.
func (p *Proxy) Close() error {
	p.end()
	for _, s := range p.servers {
		s.Close() // an error tells that it is closed already
	}
	p.tasks.Wait()
	p.dismiss()
	return nil
}

// listen opens a TCP port for local clients.
func (p *Proxy) listen(what string, at netip.AddrPort, serve func(net.Listener) error) error {
	config := net.ListenConfig{KeepAliveConfig: keepAlive()}
	l, err := config.Listen(p.ctx, "tcp", at.String())
	if err != nil {
		return &ListenError{what, at, err}
	}
	p.add(what+" at "+l.Addr().String(), l, func() error { return serve(l) })
	return nil
}

// add has Run serve what is open, until it is closed.
func (p *Proxy) add(name string, c io.Closer, serve func() error) {
	p.servers = append(p.servers, server{name: name, Closer: c, run: func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { c.Close() })()
		if err := serve(); ctx.Err() == nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}})
}

// Listeners say what the proxy serves, and where.
func (p *Proxy) Listeners() (all []string) {
	for _, s := range p.servers {
		all = append(all, s.name)
	}
	return all
}

// Attach gives the proxy its network, and opens the ports of services there. Those with addresses in from may use them; everybody may
// if there is none.
func (p *Proxy) Attach(n Network, services []Service, from []netip.Prefix) error {
	p.network, p.allowed = n, from
	for _, s := range services {
		if err := p.openService(s); err != nil {
			return fmt.Errorf("publish port %d: %w", s.Port, err)
		}
	}
	return nil
}

// Run serves until ctx ends, and then ends all connections.
func (p *Proxy) Run(ctx context.Context) error {
	defer p.Close()
	defer context.AfterFunc(ctx, p.end)()
	workers, _ := worker.NewGroup(ctx)
	for _, s := range p.servers {
		workers.Go(s.name, s.run)
	}
	workers.Go("end", func(ctx context.Context) error { <-ctx.Done(); return nil })
	return workers.Wait()
}

// accept serves the connections of a listener until it is closed. serve closes them.
func (p *Proxy) accept(l net.Listener, serve func(net.Conn)) error {
	const pause = 50 * time.Millisecond
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			p.tasks.Add(1)
			p.crew.do(func() {
				defer p.tasks.Done()
				serve(c)
			})
		case errors.Is(err, net.ErrClosed), !isTemporary(err):
			return err
		default: // the process has as many descriptors as it may, say
			time.Sleep(pause)
		}
	}
}

func isTemporary(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// begin counts a connection of a kind that has a place. A source that is not valid is a local client.
func (p *Proxy) begin(kind Kind, source netip.Addr) (end func(), err error) {
	leave, err := p.admission.enter(source)
	if err != nil {
		return nil, err
	}
	p.counts.now[kind].Add(1)
	p.counts.total[kind].Add(1)
	return func() {
		p.counts.now[kind].Add(-1)
		leave()
	}, nil
}

// refused counts and logs a request that was not done, and returns the reason.
func (p *Proxy) refused(what string, from net.Addr, err error) Reason {
	reason := reasonOf(err)
	p.counts.refuse(reason)
	p.cfg.Log.Debug("refused", "what", what, "from", from, "reason", reason, "error", err)
	return reason
}

// ListenError says which local address could not be opened.
type ListenError struct {
	What string // such as "SOCKS"
	Addr netip.AddrPort
	Err  error
}

func (e *ListenError) Error() string {
	switch {
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return fmt.Sprintf("%s address %v: another program uses this address and port: choose another port", e.What, e.Addr)
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("%s address %v: no interface of this host has this address: choose one that it has, such as 127.0.0.1", e.What, e.Addr)
	case errors.Is(e.Err, syscall.EACCES):
		return fmt.Sprintf("%s address %v: ports below 1024 are for root: choose a higher one", e.What, e.Addr)
	}
	return fmt.Sprintf("%s address %v: %v", e.What, e.Addr, e.Err)
}

func (e *ListenError) Unwrap() error { return e.Err }
