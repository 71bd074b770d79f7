// Package client fills tunnel.ClientConfig with what a client takes from its host, whatever its IPv6 stack is: the addresses of its
// servers, the UDP ports, the state of the network, what an earlier run has left, and the gateway's port mappings.
package client

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

	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/portmap"
	"github.com/teredo-suite/teredo/internal/resolve"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Options say what a client is to do.
type Options struct {
	Servers, Servers2 []string       // names or IPv4 addresses; of the second ones there may be fewer, or empty ones
	Permit            []netip.Prefix // special-use ranges to take for global ones
	Bind              netip.Addr     // local IPv4 address; zero: the source address of the route to the server
	Port              uint16         // local UDP port; 0: that of the last run, or a random one
	UDP               udp.Options    // of the service port
	NewAddress        bool           // forget what the run before has left
	Interval          time.Duration  // refresh interval; 0: 30 s
	DetermineInterval bool           // measure it instead (RFC 4380 §5.2.7)
	ConePhase         bool           // ask first whether the NAT is a cone NAT
	Extensions        tunnel.Extensions
	LocalDiscovery    bool
	PortMapping       bool
	Interface         string // the client's own interface; empty: it has none
	Yield             bool   // to native IPv6
	State             string // what the paths of files begin with that a run leaves for the next one; empty: it leaves none
	ClientID, Secret  []byte
	Log               *slog.Logger
}

// Check finds what is wrong with the names and addresses of servers, as far as that shows without the network.
func (o *Options) Check() error {
	for n, host := range o.Servers {
		if err := o.checkServer(host, o.Server2(n)); err != nil {
			return err
		}
	}
	return nil
}

// checkServer checks the names of a server, of which the second may be empty; and addresses. Those that a name has are checked
// when they are known.
func (o *Options) checkServer(host, host2 string) error {
	cfg := qualify.Config{Filter: teredo.Filter{Permit: o.Permit}}
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

// IsName reports whether a server is given by a name, and not by an address.
func IsName(host string) bool {
	addr, err := parseHost(host)
	return err == nil && !addr.IsValid()
}

// Server2 is the second address of the n-th server, empty if it was not given.
func (o *Options) Server2(n int) string {
	if n < len(o.Servers2) {
		return o.Servers2[n]
	}
	return ""
}

// Host is the host that a client runs on.
type Host struct {
	Options
	memory *memory
	conn   *udp.Conn // the service port, when it is open
}

// NewHost reads what the run before has left.
func NewHost(o Options) *Host { return &Host{Options: o, memory: o.remember()} }

// Config is the configuration of a client on the host, without what depends on its IPv6 stack: Device, Kernel, Configure, Restore.
func (h *Host) Config() (cfg tunnel.ClientConfig, err error) {
	cfg = tunnel.ClientConfig{
		Log: h.Log, Listen: h.listen, Local: h.local, Servers: h.lookups(), Permit: h.Permit, Last: h.memory.address(),
		ClientID: h.ClientID, Secret: h.Secret, ConePhase: h.ConePhase, NativeAddress: true, Interval: h.Interval,
		Extensions: h.Extensions, RandomPort: h.randomPort,
	}
	if cfg.Network, err = h.Network(); err != nil {
		return cfg, err
	}
	if h.DetermineInterval {
		cfg.SecondaryPort = h.randomPort
	}
	if h.LocalDiscovery {
		cfg.Discovery = func(local netip.Addr) (tunnel.Conn, error) {
			return udp.ListenMulticast(netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port), local)
		}
	}
	if h.PortMapping {
		cfg.PortMap = portmap.NewKeeper(netcfg.Gateway, h.file("portmap"), h.Log).Keep
	}
	return cfg, nil
}

// ServicePort is the open service port.
func (h *Host) ServicePort() *udp.Conn { return h.conn }

// local finds the local address and port that packets to a server leave from.
func (h *Host) local(server netip.Addr) netip.AddrPort {
	local := h.conn.LocalAddr()
	if !local.Addr().IsUnspecified() {
		return local
	}
	addr, err := netcfg.LocalIPv4(server)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, local.Port())
}

// randomPort opens a UDP port that the kernel chooses.
func (h *Host) randomPort() (tunnel.Conn, error) { return h.open(0, udp.Options{}) }

// open opens a UDP port.
func (h *Host) open(port uint16, o udp.Options) (*udp.Conn, error) {
	return udp.Listen(netip.AddrPortFrom(h.LocalAddr(), port), o)
}

// LocalAddr is the local address to use, 0.0.0.0 when the route to the server decides.
func (o *Options) LocalAddr() netip.Addr {
	if o.Bind.IsValid() {
		return o.Bind
	}
	return netip.IPv4Unspecified()
}

// listen opens the service port: the configured one, or that of the run before if it is free.
func (h *Host) listen() (tunnel.Conn, error) {
	conn, err := h.open(cmp.Or(h.Port, h.memory.last.Port), h.UDP)
	if errors.Is(err, syscall.EADDRINUSE) && h.Port == 0 {
		conn, err = h.open(0, h.UDP)
	}
	if err != nil {
		return nil, err
	}
	h.conn = conn
	return conn, nil
}

// Network is what the client needs to know about the network as it is now.
func (h *Host) Network() (n tunnel.Network, err error) {
	if n.Broadcasts, err = netcfg.Broadcasts(); err != nil {
		return n, err
	}
	if n.Subnets, err = netcfg.Subnets(); err != nil {
		return n, err
	}
	if h.Yield {
		n.Native, _, err = netcfg.NativeIPv6(h.Interface)
	}
	return n, err
}

// Follow tells the client about changes of the network until there are no more of them, and calls own after those of its own
// interface.
func (h *Host) Follow(ctx context.Context, changes <-chan netcfg.Change, client *tunnel.Client, own func()) error {
	for change := range changes {
		if change.Own {
			own()
		}
		if change == (netcfg.Change{Own: true}) {
			continue
		}
		network, err := h.Network()
		if err != nil {
			h.Log.Error("cannot read the state of the network", "error", err)
			continue
		}
		_ = client.NetworkChanged(ctx, network) // fails only when the client has stopped
	}
	return nil
}

// lookups finds the addresses of each configured server.
func (h *Host) lookups() []tunnel.Lookup {
	var lookups []tunnel.Lookup
	for n, host := range h.Servers {
		lookups = append(lookups, func(ctx context.Context, current tunnel.Servers) (found tunnel.Servers, ttl time.Duration, err error) {
			found.Primary, ttl, err = ResolveHost(ctx, host, current.Primary)
			host2 := h.Server2(n)
			if err != nil || host2 == "" {
				return found, ttl, err
			}
			var ttl2 time.Duration
			found.Secondary, ttl2, err = ResolveHost(ctx, host2, current.Secondary)
			if ttl == 0 || ttl2 > 0 && ttl2 < ttl {
				ttl = ttl2
			}
			return found, ttl, err
		})
	}
	return lookups
}

// ResolveHost finds an address of a server. Of several it keeps the one in use, as another would change our IPv6 address.
func ResolveHost(ctx context.Context, host string, inUse netip.Addr) (netip.Addr, time.Duration, error) {
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
