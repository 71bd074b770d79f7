package netcfg

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	// teredoMetric is the metric of the route 2001::/32. It is what the kernel gives to the prefix of an interface
	// (IP6_RT_PRIO_ADDRCONF), so the tunnel wins over a route to a relay that a router advertises (1024).
	teredoMetric = 256

	// nativeMetric is the metric of a relay's route to the native addresses of clients. It is less than what the kernel (256) and
	// network managers (100 and more) give to the prefix of an interface. So the relay gets the packets for clients where the /64
	// is that of a link, too. Gateways have routes of their own then, see KeepGateways.
	nativeMetric = 1

	// defaultMetric is the metric of a client's default route. Every native default route must beat it: the kernel gives
	// 1024 to the ones from router advertisements and to manual ones without a metric, DHCP clients and network managers
	// use 100 to some tens of thousands. The highest metric, 1<<32-1, stays free for an operator's unreachable route.
	defaultMetric = 1 << 30

	// The protocol numbers of a relay's routes. The kernel does not interpret them; a routing daemon tells by them which routes are to be
	// announced. Neither is in use by another program that the kernel's headers or iproute2 name.
	announcedProtocol = 44 // the relay wants packets for the prefix from everywhere
	carriedProtocol   = 45 // packets that come to this host are the relay's, whether or not it wants more
)

// tunnelRoute is a route that we make at a Teredo interface.
type tunnelRoute struct {
	prefix   netip.Prefix
	metric   int
	protocol netlink.RouteProtocol // zero: that of routes which an administrator makes
	gateway  netip.Addr            // zero: the prefix is on-link
}

// teredoRoute leads to all other Teredo hosts.
func teredoRoute() tunnelRoute {
	return tunnelRoute{prefix: teredo.Prefix(), metric: teredoMetric}
}

// defaultRoute leads a client to the native IPv6 internet, through relays.
func defaultRoute() tunnelRoute {
	return tunnelRoute{prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), metric: defaultMetric}
}

// announcedRoutes are those that a routing daemon announces: to the clients of a relay, also at their native addresses.
func announcedRoutes(natives []netip.Prefix) []tunnelRoute {
	routes := []tunnelRoute{{prefix: teredo.Prefix(), metric: teredoMetric, protocol: announcedProtocol}}
	for _, p := range natives {
		routes = append(routes, tunnelRoute{prefix: p, metric: nativeMetric, protocol: announcedProtocol})
	}
	return routes
}

// carriedRoutes lead to the same addresses as announcedRoutes, and stay while those are withdrawn. Without them a packet that still
// comes would go back to the router that has sent it, by the default route or by the route to another relay. Each is one half of a
// prefix, so no route to the whole prefix beats it, and nobody who announces the prefix announces it.
//
// The kernel keeps a neighbor entry for each next hop, and all interfaces of the host share the room for 1024 of them
// (net.ipv6.neigh.default.gc_thresh3). If the clients were on-link, each of them would be a next hop: with more clients, packets would
// make and remove entries all the time, also those of the host's routers. So the routes have a gateway. A TUN interface asks for no
// link-layer address, so the gateway need not exist. Its address is that of a client with the cone bit, which no interface has.
func carriedRoutes(natives []netip.Prefix) (routes []tunnelRoute) {
	for _, r := range announcedRoutes(natives) {
		for _, half := range halves(r.prefix) {
			routes = append(routes, tunnelRoute{half, r.metric, carriedProtocol, teredo.ClientLinkLocal(true, netip.AddrPort{})})
		}
	}
	return routes
}

// halves are the two prefixes that a prefix consists of. It must not be that of a single address.
func halves(p netip.Prefix) [2]netip.Prefix {
	upper := p.Masked().Addr().As16()
	upper[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	return [2]netip.Prefix{
		netip.PrefixFrom(p.Masked().Addr(), p.Bits()+1),
		netip.PrefixFrom(netip.AddrFrom16(upper), p.Bits()+1),
	}
}

// relayRoutes are all routes of a relay.
func relayRoutes(announced bool, natives []netip.Prefix) []tunnelRoute {
	routes := carriedRoutes(natives)
	if announced {
		routes = append(routes, announcedRoutes(natives)...)
	}
	return routes
}

// replaceRoute has the prefix lead to the interface, with source as preferred source unless it is the zero Addr.
// An earlier route to the prefix with this metric is replaced in one step.
func replaceRoute(link netlink.Link, r tunnelRoute, source netip.Addr) error {
	route := netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.prefix), Priority: r.metric, Protocol: r.protocol}
	if source.IsValid() {
		route.Src = source.AsSlice()
	}
	if r.gateway.IsValid() {
		route.Gw = r.gateway.AsSlice()
	}
	if err := netlink.RouteReplace(&route); err != nil {
		return explain(fmt.Sprintf("add route %s to interface %s", r.prefix, link.Attrs().Name), err)
	}
	return nil
}

func makeRoutes(link netlink.Link, routes []tunnelRoute) error {
	for _, r := range routes {
		if err := replaceRoute(link, r, netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

// removeRoute deletes a route that replaceRoute made, unless it has another source by now. A route without any is the one
// meant, too: the kernel takes the source from a route when the address is deleted.
func removeRoute(link netlink.Link, r tunnelRoute, source netip.Addr) error {
	routes, err := routesOf(link, r)
	if err != nil {
		return err
	}
	for _, route := range routes {
		if src, hasSource := netip.AddrFromSlice(route.Src); hasSource && src != source {
			continue
		}
		if err := netlink.RouteDel(&route); err != nil && !isGone(err) {
			return explain(fmt.Sprintf("remove route %s from interface %s", r.prefix, link.Attrs().Name), err)
		}
	}
	return nil
}

// routesOf lists the routes of the interface to the prefix, with the metric and the protocol if there is one.
func routesOf(link netlink.Link, r tunnelRoute) ([]netlink.Route, error) {
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.prefix)}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes of interface %s: %w", link.Attrs().Name, err)
	}
	return slices.DeleteFunc(routes, func(route netlink.Route) bool {
		return route.Priority != r.metric || r.protocol != 0 && route.Protocol != r.protocol
	}), nil
}

// refuseRival returns ErrRouteTaken when an interface other than link is that of another Teredo program of this host. Two of them would
// take each other's packets, in an order nobody chose. A relay elsewhere is no rival: the routes here are more specific.
func refuseRival(link netlink.Link) error {
	routes, err := ipv6Routes()
	if err != nil {
		return fmt.Errorf("look for other routes to %s: %w", teredo.Prefix(), err)
	}
	for _, route := range routes {
		dst, ok := destination(route)
		owned := dst == teredo.Prefix() && isOnLink(route) || dst.Overlaps(teredo.Prefix()) && route.Protocol == carriedProtocol
		if index := outInterface(route); ok && owned && index != link.Attrs().Index {
			return fmt.Errorf("%w: stop the Teredo program that owns %s, or remove the route with 'ip -6 route del %s dev %[2]s'",
				ErrRouteTaken, interfaceName(index), dst)
		}
	}
	return nil
}

// isUnicast tells routes that lead somewhere from "unreachable" and "blackhole" ones, which an operator may keep as a
// fallback and which any real route is meant to override.
func isUnicast(route netlink.Route) bool { return route.Type == unix.RTN_UNICAST }

// isOnLink tells a tunnel of 2001::/32 from a route to a relay elsewhere.
func isOnLink(route netlink.Route) bool {
	return isUnicast(route) && route.Gw == nil && len(route.MultiPath) == 0
}

// outInterface returns the index of the interface that the route leads to (the first of a multipath route).
func outInterface(route netlink.Route) int {
	if len(route.MultiPath) > 0 {
		return route.MultiPath[0].LinkIndex
	}
	return route.LinkIndex
}

func interfaceName(index int) string {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return fmt.Sprintf("interface %d", index)
	}
	return link.Attrs().Name
}
