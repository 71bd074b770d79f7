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
)

// tunnelRoute is a route that we make at a Teredo interface.
type tunnelRoute struct {
	prefix netip.Prefix
	metric int
}

// teredoRoute leads to all other Teredo hosts.
func teredoRoute() tunnelRoute { return tunnelRoute{teredo.Prefix(), teredoMetric} }

// defaultRoute leads a client to the native IPv6 internet, through relays.
func defaultRoute() tunnelRoute {
	return tunnelRoute{netip.PrefixFrom(netip.IPv6Unspecified(), 0), defaultMetric}
}

// relayRoutes lead to the clients of a relay, also at their native addresses.
func relayRoutes(natives []netip.Prefix) []tunnelRoute {
	routes := []tunnelRoute{teredoRoute()}
	for _, p := range natives {
		routes = append(routes, tunnelRoute{p, nativeMetric})
	}
	return routes
}

// replaceRoute makes the prefix on-link at the interface, with source as preferred source unless it is the zero Addr.
// An earlier route to the prefix with this metric is replaced in one step.
func replaceRoute(link netlink.Link, r tunnelRoute, source netip.Addr) error {
	route := netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.prefix), Priority: r.metric}
	if source.IsValid() {
		route.Src = source.AsSlice()
	}
	if err := netlink.RouteReplace(&route); err != nil {
		return explain(fmt.Sprintf("add route %s to interface %s", r.prefix, link.Attrs().Name), err)
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

// routesOf lists the routes of the interface to the prefix, with the metric.
func routesOf(link netlink.Link, r tunnelRoute) ([]netlink.Route, error) {
	filter := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.prefix)}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_OIF|netlink.RT_FILTER_DST)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes of interface %s: %w", link.Attrs().Name, err)
	}
	return slices.DeleteFunc(routes, func(route netlink.Route) bool { return route.Priority != r.metric }), nil
}

// refuseRival returns ErrRouteTaken when an interface other than link has a route to 2001::/32 of the given kind.
// Two owners of the prefix would take each other's packets, in an order nobody chose.
func refuseRival(link netlink.Link, kind func(netlink.Route) bool) error {
	filter := &netlink.Route{Dst: ipNet(teredo.Prefix())}
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V6, filter, netlink.RT_FILTER_DST)
	})
	if err != nil {
		return fmt.Errorf("look for other routes to %s: %w", teredo.Prefix(), err)
	}
	for _, route := range routes {
		if index := outInterface(route); index != link.Attrs().Index && kind(route) {
			return fmt.Errorf("%w: stop the Teredo program that owns %s, or remove the route with 'ip -6 route del %s dev %[2]s'",
				ErrRouteTaken, interfaceName(index), teredo.Prefix())
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
