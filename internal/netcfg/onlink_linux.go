package netcfg

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// OnLink finds the interface, other than except, whose hosts include those of a prefix: the router there asks the link for each
// of them. It returns the prefix of the interface, too, which may be a shorter one; "" when there is no such interface, so the
// prefix is routed to this host, or not at all.
func OnLink(prefix netip.Prefix, except string) (ifname string, covering netip.Prefix, err error) {
	routes, err := ipv6Routes()
	if err != nil {
		return "", netip.Prefix{}, err
	}
	for _, route := range routes {
		dst, ok := destination(route)
		if !ok || !isOnLink(route) || leadsEverywhere(route) || dst.Bits() > prefix.Bits() || !dst.Contains(prefix.Addr()) {
			continue
		}
		name := interfaceName(route.LinkIndex)
		if name != except && (ifname == "" || dst.Bits() > covering.Bits()) {
			ifname, covering = name, dst
		}
	}
	return ifname, covering, nil
}

// ipv6Routes lists the IPv6 routes of the main table.
func ipv6Routes() ([]netlink.Route, error) {
	routes, err := dump(func() ([]netlink.Route, error) { return netlink.RouteList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list IPv6 routes: %w", err)
	}
	return routes, nil
}

// destination returns what a route leads to.
func destination(route netlink.Route) (netip.Prefix, bool) {
	if route.Dst == nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0), true
	}
	addr, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	return netip.PrefixFrom(addr, bits), ok
}

// nextHop is a router on a link.
type nextHop struct {
	addr  netip.Addr
	index int // of the interface
}

// gateways lists the IPv6 routers that routes of this host lead to, each once.
func gateways() (list []nextHop, err error) {
	routes, err := ipv6Routes()
	if err != nil {
		return nil, err
	}
	add := func(ip []byte, index int) {
		if addr, ok := netip.AddrFromSlice(ip); ok && addr.Is6() && !slices.Contains(list, nextHop{addr, index}) {
			list = append(list, nextHop{addr, index})
		}
	}
	for _, route := range routes {
		add(route.Gw, route.LinkIndex)
		for _, hop := range route.MultiPath {
			add(hop.Gw, hop.LinkIndex)
		}
	}
	return list, nil
}

// TakenIPv6 returns the IPv6 addresses that are those of this host or of its gateways: also tentative ones, and those of subnet routers.
func TakenIPv6() (map[netip.Addr]bool, error) {
	taken := make(map[netip.Addr]bool)
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list IPv6 addresses: %w", err)
	}
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if !ok {
			continue
		}
		taken[addr] = true
		bits, _ := a.Mask.Size()
		if anycast, ok := SubnetRouter(netip.PrefixFrom(addr, bits)); ok {
			taken[anycast] = true
		}
	}
	list, err := gateways()
	for _, g := range list {
		taken[g.addr] = true
	}
	return taken, err
}

// LinkLocalIPv6 returns the link-local address of an interface that is not tentative; false: it has none now.
func LinkLocalIPv6(ifname string) (netip.Addr, bool) {
	link, err := findLink(ifname)
	if err != nil {
		return netip.Addr{}, false
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return netip.Addr{}, false
	}
	for _, a := range addrs {
		if addr, ok := netip.AddrFromSlice(a.IP); ok && isUsable(a) && addr.IsLinkLocalUnicast() {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// Gateways keeps routes to those gateways of this host that have addresses in the prefixes, which lead elsewhere.
type Gateways struct {
	prefixes []netip.Prefix
	log      *slog.Logger
	made     []nextHop
}

// KeepGateways makes none yet.
func KeepGateways(log *slog.Logger, prefixes ...netip.Prefix) *Gateways {
	return &Gateways{prefixes: prefixes, log: log}
}

// Follow makes the routes for the gateways that there are now. Call it again when routes have changed.
func (k *Gateways) Follow() error {
	list, err := gateways()
	if err != nil {
		return err
	}
	for _, g := range list {
		inside := slices.ContainsFunc(k.prefixes, func(p netip.Prefix) bool { return p.Contains(g.addr) })
		if !inside || slices.Contains(k.made, g) {
			continue
		}
		if err := netlink.RouteAdd(g.route()); errors.Is(err, unix.EEXIST) {
			if ours, err := g.isOurs(); err != nil || !ours {
				continue // the administrator has made one
			}
		} else if err != nil {
			return explain(fmt.Sprintf("add a route to the gateway %s", g.addr), err)
		}
		k.made = append(k.made, g)
	}
	return nil
}

// Undo takes the routes away.
func (k *Gateways) Undo() {
	for _, g := range k.made {
		if err := netlink.RouteDel(g.route()); err != nil && !isGone(err) {
			k.log.Error("cannot remove the route to a gateway", "gateway", g.addr, "error", err)
		}
	}
	k.made = nil
}

// route leads to the gateway alone.
func (g nextHop) route() *netlink.Route {
	return &netlink.Route{LinkIndex: g.index, Dst: ipNet(netip.PrefixFrom(g.addr, 128)), Priority: nativeMetric, Protocol: carriedProtocol}
}

// isOurs reports whether there is a route that a relay has made, which this one has replaced.
func (g nextHop) isOurs() (bool, error) {
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, g.route(), netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST|netlink.RT_FILTER_PROTOCOL)
	})
	return len(routes) > 0, err
}
