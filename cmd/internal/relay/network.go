package relay

import (
	"context"
	"net/netip"
	"reflect"

	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/tunnel"
)

// network follows the addresses of the host.
type network struct {
	relay   *Relay
	changes <-chan netcfg.Change
	known   tunnel.RelayNetwork
	keeper  *netcfg.Keeper // of our interface
}

// watch finds out about the network and what is told of it from now on. The interface has the link-local address, and the
// native prefixes of clients lead to it.
func (r *Relay) watch(ctx context.Context, linkLocal netip.Addr) (*network, error) {
	changes, err := netcfg.Watch(ctx, r.TUN)
	if err != nil {
		return nil, err
	}
	known, err := r.network()
	if err != nil {
		return nil, err
	}
	keeper := netcfg.NewKeeper(r.Log, func(context.Context) ([]string, error) {
		return r.restore(linkLocal)
	})
	n := &network{relay: r, changes: changes, known: known, keeper: keeper}
	n.warn()
	return n, nil
}

// follow tells the relay and the neighbors of changes of the network, and the keeper of those of the interface, until ctx ends.
func (n *network) follow(ctx context.Context, running *tunnel.Relay, neighbors *neighbors) error {
	for change := range n.changes {
		if change.Own {
			n.keeper.Disturbed()
		}
		if change.Links || change.Addresses || change.Routes {
			neighbors.tell()
		}
		if !change.Addresses {
			continue
		}
		found, err := n.relay.network()
		if err != nil {
			n.relay.Log.Error("cannot find out how the network has changed", "error", err)
			continue
		}
		if reflect.DeepEqual(found, n.known) {
			continue
		}
		n.known = found
		n.relay.Log.Info("the addresses of this host have changed")
		n.warn()
		if running.NetworkChanged(ctx, found) != nil {
			break // it has stopped
		}
	}
	return nil
}

// warn says what the relay cannot do with these addresses.
func (n *network) warn() {
	switch {
	case n.relay.HostOnly && len(n.known.Serve) == 0:
		n.relay.Log.Warn("this host has no global IPv6 address to serve: waiting for one")
	case !n.known.Errors.IsValid():
		n.relay.Log.Warn("this host has no global IPv6 address: IPv6 hosts get no ICMPv6 error when a client is unreachable")
	}
}

// network finds out what the relay needs to know.
func (r *Relay) network() (tunnel.RelayNetwork, error) {
	broadcasts, err := netcfg.Broadcasts()
	if err != nil {
		return tunnel.RelayNetwork{}, err
	}
	errorSource, _ := netcfg.GlobalIPv6()
	own, err := netcfg.OwnIPv6()
	if err != nil {
		return tunnel.RelayNetwork{}, err
	}
	n := tunnel.RelayNetwork{Broadcasts: broadcasts, Errors: errorSource, Serve: r.Serve, BehindNAT: r.behindNAT()}
	if r.HostOnly {
		n.Serve = make([]netip.Prefix, 0, len(own)) // not nil, which would be every address
	}
	for _, p := range own {
		n.Own = append(n.Own, p.Addr())
		if r.HostOnly {
			n.Serve = append(n.Serve, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
		}
		if anycast, ok := netcfg.SubnetRouter(p); ok {
			n.Own = append(n.Own, anycast)
		}
	}
	return n, nil
}

// behindNAT reports whether the relay's own IPv4 address is private, so that some NAT must stand before it.
func (r *Relay) behindNAT() bool {
	local := r.Bind
	if !local.IsValid() {
		somewhere := netip.AddrFrom4([4]byte{192, 0, 2, 1}) // any address that is not attached; nothing is sent there
		local, _ = netcfg.LocalIPv4(somewhere)
	}
	return local.IsPrivate()
}
