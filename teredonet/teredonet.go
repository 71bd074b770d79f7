// Package teredonet gives a program IPv6 of its own through a Teredo server (RFC 4380): from behind an IPv4 NAT, on any system,
// without privileges. The TCP/IP stack is in the program. The system gets no interface, no address and no route.
//
//	n, err := teredonet.Up(ctx, teredonet.Config{Servers: []string{"teredo.example.net"}})
//	client := http.Client{Transport: &http.Transport{DialContext: n.DialContext}}
//	listener, err := n.Listen("tcp", ":80")
//
// Connections and listeners are those of package net in what they do and in their errors: *net.OpError, with causes such as
// syscall.ECONNREFUSED that errors.Is finds, and os.ErrDeadlineExceeded.
package teredonet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/teredo-suite/teredo/internal/client"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/netstack"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// ErrAddressChanged is the cause of errors of a connection whose local address the Net has lost, since the server or the NAT's
// mapping is another one now. It is syscall.ENETUNREACH, too.
var ErrAddressChanged = netstack.ErrAddressChanged

// Config says how to get IPv6. Only Servers is required.
type Config struct {
	// Servers are names or IPv4 addresses of Teredo servers, which are tried in this order. Servers2 are their second addresses, in
	// the same order; the address after the first one stands for an empty or missing one.
	Servers, Servers2 []string
	// Bind is the local IPv4 address; zero stands for the source address of the route to the server. Port is the local UDP port; 0
	// stands for that of the last run, if State is set, or for a random one.
	Bind netip.Addr
	Port uint16
	// NewAddress has the Net forget the port and address of the last run.
	NewAddress bool
	// State is what the paths of files begin with that a run leaves for the next one, so that it has the same address and no mapping
	// stays at the gateway: "/var/lib/program/teredo.", say. Empty: there are no files.
	State string
	// ClientID and Secret authenticate this client to the server (RFC 4380 §5.2.1).
	ClientID, Secret []byte
	// RefreshInterval is the longest time without a message to the server, from 5 s to 5 min; 0 stands for 30 s. With
	// DetermineInterval the client measures how long the NAT keeps a mapping (RFC 4380 §5.2.7).
	RefreshInterval   time.Duration
	DetermineInterval bool
	// ConePhase first asks whether the NAT is a cone NAT. It is for old servers: the address then reveals the kind of the NAT.
	ConePhase bool
	// Disable are parts of RFC 6081 to turn off: symmetric-nat, upnp, port-preserving, sequential, hairpinning, load-reduction.
	Disable []string
	// NoLocalDiscovery turns off the search for clients on the same IPv4 subnet (RFC 4380 §5.2.8). NoPortMapping turns off that the
	// gateway is asked for a port, by UPnP, PCP or NAT-PMP.
	NoLocalDiscovery, NoPortMapping bool
	// Permit are special-use ranges, IPv4 and IPv6, to take for global ones: in a laboratory, say.
	Permit []netip.Prefix
	// UDPGSO and UDPGRO say whether to use these offloads of Linux; elsewhere there are none.
	UDPGSO, UDPGRO Offload
	// Resolver finds the IPv6 addresses of names. Nil: net.DefaultResolver.
	Resolver Resolver
	// Changed is told about each change of the state, in a few words, and from when on the Net goes on by itself: all is open, or it
	// waits for its local address. It may be nil.
	Changed func(state string, ready bool)
	// Addresses is told the Teredo address, and the native address in the prefix of the server, whenever one of them has changed;
	// either may be zero. It must not wait, and may be nil.
	Addresses func(address, native netip.Addr)
	// Log gets what is worth to be known. Nil: nothing is logged.
	Log *slog.Logger
}

// Offload says whether to use an offload of the kernel.
type Offload = offload.Mode

// Values of Offload.
const (
	OffloadAuto = offload.Auto // use it if the kernel has it
	OffloadOn   = offload.On   // fail if the kernel does not have it
	OffloadOff  = offload.Off
)

// Status describes a Net.
type Status = tunnel.ClientStatus

// Peer describes a host that the Net exchanges packets with.
type Peer = tunnel.Peer

// PingResult is what has come of a ping.
type PingResult = tunnel.PingResult

// Check finds what is wrong with the configuration, as far as that shows without the network.
func (c *Config) Check() error {
	if len(c.Servers) == 0 {
		return errors.New("no Teredo server is given: name one such as teredo.example.net or 192.0.2.1")
	}
	if len(c.Servers2) > len(c.Servers) {
		return fmt.Errorf("there are second addresses for %d servers, but only %d servers", len(c.Servers2), len(c.Servers))
	}
	if c.RefreshInterval != 0 {
		if err := qualify.CheckInterval(c.RefreshInterval); err != nil {
			return err
		}
	}
	if err := client.CheckExtensions(c.Disable); err != nil {
		return err
	}
	return c.options().Check()
}

func (c *Config) options() *client.Options {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &client.Options{
		Servers: c.Servers, Servers2: c.Servers2, Permit: c.Permit, Bind: c.Bind, Port: c.Port, UDP: udp.Options{GSO: c.UDPGSO, GRO: c.UDPGRO},
		NewAddress: c.NewAddress, Interval: c.RefreshInterval, DetermineInterval: c.DetermineInterval, ConePhase: c.ConePhase,
		Extensions: client.Extensions(c.Disable), LocalDiscovery: !c.NoLocalDiscovery, PortMapping: !c.NoPortMapping, State: c.State,
		ClientID: c.ClientID, Secret: c.Secret, Log: log,
	}
}

// Net is IPv6 by Teredo. All methods may be called at any time, by any number of goroutines.
type Net struct {
	stack    *netstack.Stack
	client   *tunnel.Client
	resolver Resolver
	cancel   context.CancelFunc
	done     chan struct{} // closed at the end, after err is set
	err      error

	mu      sync.Mutex
	addr    netip.Addr    // while IPv6 is usable
	changed chan struct{} // closed when addr changes
}

// Up starts a Net, and waits until IPv6 is usable. When ctx ends before that, it closes the Net, and its error says what it has
// waited for.
func Up(ctx context.Context, cfg Config) (*Net, error) {
	n, err := Start(cfg)
	if err != nil {
		return nil, err
	}
	if _, err := n.WaitAddr(ctx, netip.Addr{}); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Start starts a Net that goes on trying until Close. Its error tells of a wrong configuration, or that the state of this host
// cannot be read.
func Start(cfg Config) (*Net, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	options := cfg.options()
	host := client.NewHost(*options)
	c, err := host.Config()
	if err != nil {
		return nil, err
	}
	c.Changed, c.Addresses = cfg.Changed, cfg.Addresses
	c.Configure = func(_, address netip.Addr) error {
		if address.IsValid() {
			host.Note(address)
		}
		return nil
	}
	return start(c, cfg.Resolver, func(ctx context.Context, client *tunnel.Client, workers *worker.Group) error {
		changes, err := netcfg.Watch(ctx, "")
		if err != nil {
			return err
		}
		workers.Go("network", func(ctx context.Context) error { return host.Follow(ctx, changes, client, func() {}) })
		workers.Go("last run", host.Keep)
		return nil
	})
}

// Over starts a Net over sockets of the caller, who also tells the client about changes of the network. Device, Kernel, Configure
// and Restore of the configuration are those of the Net.
func Over(c tunnel.ClientConfig, r Resolver) (*Net, error) {
	return start(c, r, func(context.Context, *tunnel.Client, *worker.Group) error { return nil })
}

// start runs a client with a stack, and what more makes of it.
func start(c tunnel.ClientConfig, r Resolver, more func(context.Context, *tunnel.Client, *worker.Group) error) (*Net, error) {
	stack, err := netstack.New(teredo.MTU)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n := &Net{stack: stack, resolver: r, cancel: cancel, done: make(chan struct{}), changed: make(chan struct{})}
	if r == nil {
		n.resolver = net.DefaultResolver
	}
	configure, changed := c.Configure, c.Changed
	c.Device = stack
	c.Configure = func(old, address netip.Addr) error {
		if configure != nil {
			if err := configure(old, address); err != nil {
				return err
			}
		}
		return stack.SetAddress(address)
	}
	c.Kernel = func() (tunnel.Kernel, error) { return nil, nil }
	c.Restore = func(netip.Addr) ([]string, error) { return nil, nil }
	c.Changed = func(state string, ready bool) {
		n.follow(ctx)
		if changed != nil {
			changed(state, ready)
		}
	}
	n.client = tunnel.NewClient(c)
	workers, ctx := worker.NewGroup(ctx)
	if err := more(ctx, n.client, workers); err != nil {
		cancel()
		return nil, errors.Join(err, stack.Close())
	}
	workers.Go("client", n.client.Run)
	go n.wait(workers)
	return n, nil
}

// follow notes whether IPv6 is usable.
func (n *Net) follow(ctx context.Context) {
	s, err := n.client.Status(ctx)
	if err != nil {
		return
	}
	n.setAddr(s.Address)
}

func (n *Net) setAddr(a netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a != n.addr {
		n.addr = a
		close(n.changed)
		n.changed = make(chan struct{})
	}
}

// wait notes the end.
func (n *Net) wait(workers *worker.Group) {
	err := workers.Wait()
	n.cancel()
	n.err = errors.Join(err, n.stack.Close())
	n.setAddr(netip.Addr{})
	close(n.done)
}

// Addr is the Teredo address, the zero Addr while IPv6 is not usable. It changes with the server, and with the mapping of the NAT.
func (n *Net) Addr() netip.Addr {
	addr, _ := n.now()
	return addr
}

func (n *Net) now() (netip.Addr, chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr, n.changed
}

// WaitAddr waits until the address is another one than was, and returns it. When ctx ends before that, the error says what the Net
// waits for; once the Net has ended the error is net.ErrClosed.
func (n *Net) WaitAddr(ctx context.Context, was netip.Addr) (netip.Addr, error) {
	for {
		addr, changed := n.now()
		if addr != was {
			return addr, nil
		}
		select {
		case <-changed:
		case <-n.done:
			return netip.Addr{}, n.ended()
		case <-ctx.Done():
			return netip.Addr{}, n.waitError(ctx)
		}
	}
}

// ended is the error of what is done after the end.
func (n *Net) ended() error {
	if n.err != nil {
		return n.err
	}
	return net.ErrClosed
}

// waitError says what the Net waits for.
func (n *Net) waitError(ctx context.Context) error {
	s, err := n.client.Status(context.Background())
	if err != nil {
		return n.ended()
	}
	switch {
	case s.LastError != "":
		return fmt.Errorf("no IPv6 by Teredo yet: %s: %w", s.LastError, ctx.Err())
	case s.WaitingFor != "":
		return fmt.Errorf("no IPv6 by Teredo yet, waiting for %s: %w", s.WaitingFor, ctx.Err())
	}
	return ctx.Err()
}

// Status describes the Net now.
func (n *Net) Status(ctx context.Context) (Status, error) { return n.client.Status(ctx) }

// Ping sends an ICMPv6 Echo Request, and returns how the answer came, or why there is none.
func (n *Net) Ping(ctx context.Context, to netip.Addr) (PingResult, error) {
	return n.client.Ping(ctx, to)
}

// Carried is all traffic since the start, and what the kernel has carried of it, which is none.
func (n *Net) Carried() (all, byKernel tunnel.Traffic) { return n.client.Carried() }

// Peers describes the hosts that the Net exchanges packets with.
func (n *Net) Peers(ctx context.Context) ([]Peer, error) { return n.client.Peers(ctx) }

// SetSecret changes ClientID and Secret of the configuration.
func (n *Net) SetSecret(ctx context.Context, clientID, secret []byte) error {
	return n.client.SetSecret(ctx, clientID, secret)
}

// SetPermit changes Permit of the configuration. What was accepted before stays until it is given up.
func (n *Net) SetPermit(ctx context.Context, permit []netip.Prefix) error {
	return n.client.SetPermit(ctx, permit)
}

// NetworkChanged tells a Net that was started by Over what the network is now.
func (n *Net) NetworkChanged(ctx context.Context, network tunnel.Network) error {
	return n.client.NetworkChanged(ctx, network)
}

// Done is closed when the Net has ended: after Close, or for the reason that Err tells.
func (n *Net) Done() <-chan struct{} { return n.done }

// Err is why the Net has ended; nil before that, and after Close.
func (n *Net) Err() error {
	select {
	case <-n.done:
		return n.err
	default:
		return nil
	}
}

// Close ends all connections and listeners, has the gateway remove a port mapping, for which it takes little more than a second at
// most, and waits until all goroutines have ended. It returns why the Net has ended before, if it had.
func (n *Net) Close() error {
	n.cancel()
	<-n.done
	return n.err
}
