// Package relay sets a relay up and runs it, for the programs that have one: teredo-relay, and teredo-server with --relay.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/neighbor"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Flags are the flags of a relay that all programs with a relay have. Embed it.
type Flags struct {
	TUN           string           `name:"tun" default:"teredo" placeholder:"NAME" help:"Name of the interface to create (${default})."`
	Serve         cli.IPv6Prefixes `placeholder:"CIDR,…" help:"Serve only these ranges of native IPv6 addresses. They may include special-use ones (unique local, 6to4, NAT64) and those of this host. The default is every global address except those of this host."`
	NeighborProxy string           `placeholder:"INTERFACE" help:"Answer neighbor solicitations for the clients' native addresses on this interface. Needed if the native prefix is on-link there, not if it is routed to this host."`
	Capacity      int              `placeholder:"N" help:"Most clients that the relay remembers; it forgets the least recently used first. The default is what a quarter of the memory holds, from 4096 to 1048576."`
	Forwarding    bool             `help:"Turn on IPv6 forwarding of this host while the relay runs."`
	cli.UDPFlags
	cli.DeviceFlags
	cli.PeersFlags
}

// Check finds what is wrong with the flags, for a relay with native prefixes or without.
func (f *Flags) Check(native bool) error {
	if f.NeighborProxy != "" && !native {
		return errors.New("--neighbor-proxy is for the addresses of a --native-prefix: give that, too")
	}
	if f.Capacity != 0 {
		if err := checkCapacity(f.Capacity); err != nil {
			return err
		}
	}
	return cli.CheckName(f.TUN)
}

// Given reports whether there are flags that only a relay has a use for.
func (f *Flags) Given() bool {
	return f.Serve != nil || f.NeighborProxy != "" || f.Capacity != 0 || f.Forwarding || f.ControlGroup != ""
}

// Relay is a relay in a program. Set its fields before Run.
type Relay struct {
	Flags
	cli.KernelFlags
	Bind       netip.Addr // IPv4 address of this host; zero: whichever the route to a client has
	Port       uint16
	HostOnly   bool // it serves this host alone
	Natives    teredo.NativePrefixes
	PermitIPv4 []netip.Prefix
	Mark       string // file that tells the next run that forwarding was turned on
	Log        *slog.Logger
	Inherited  *succession.Inheritance // from the process that this one replaces; nil: it replaces none
	Processors int                     // that the program may use

	WaitsFor func(what string)          // told while the relay is set up
	Runs     func()                     // called when Status has something to tell
	TakeOver func() bool                // called when it does all that the relay before did; false: it has to end
	Ready    func(local netip.AddrPort) // called when the relay goes on by itself
	Confine  func(needs confine.Policy) // called when the relay needs no more than this

	announcer *cli.Announcer
	routes    routes
	running   atomic.Pointer[running] // nil while it is set up
}

type running struct {
	*tunnel.Relay
	neighbors *neighbors
	devices   []tun.Device
	conns     []*udp.Conn
	linkLocal netip.Addr // of the interface
}

// SetPermit changes PermitIPv4 of a relay that Runs was called for.
func (r *Relay) SetPermit(ctx context.Context, permit []netip.Prefix) {
	_ = r.running.Load().SetPermit(ctx, permit) // fails only when the relay has stopped
}

// Status describes a relay.
type Status struct {
	tunnel.RelayStatus
	announce.Status
	NeighborProxy neighbor.Status `json:"neighbor_proxy,omitzero"`
}

// Status describes the relay now, once it is ready.
func (r *Relay) Status(ctx context.Context) (s Status, err error) {
	t := r.running.Load()
	s.NeighborProxy = t.neighbors.status()
	s.RelayStatus, err = t.Status(ctx)
	if s.Status = r.announcer.Status(); s.WithdrawnReason == announce.Draining {
		s.State = string(announce.Draining)
	}
	return s, err
}

// Peers describes the clients that the relay knows, none while it is set up.
func (r *Relay) Peers(ctx context.Context) (any, error) {
	if t := r.running.Load(); t != nil {
		return t.Peers(ctx)
	}
	return []peer.Info{}, nil
}
