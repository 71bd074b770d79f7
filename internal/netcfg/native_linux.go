package netcfg

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// NativeIPv6 reports whether the host has IPv6 connectivity by other means than the interface except, and through which
// interface (SUN-01): one with a default route that can be used and an address that the IPv6 Internet can answer.
// A unique local address is none, nor is a Teredo address. Of several interfaces the one with the lowest metric is named.
func NativeIPv6(except string) (via string, ok bool, err error) {
	routes, err := defaultRoutes()
	if err != nil || len(routes) == 0 {
		return "", false, err
	}
	addressed, err := globallyAddressed()
	if err != nil {
		return "", false, err
	}
	for _, route := range routes {
		for _, index := range usableInterfaces(route) {
			if !addressed[index] {
				continue
			}
			if name := interfaceName(index); name != except {
				return name, true, nil
			}
		}
	}
	return "", false, nil
}

// defaultRoutes lists the IPv6 routes to everywhere, the preferred ones first. They may be in any table, as a VPN has its
// own, with rules that lead to it.
func defaultRoutes() ([]netlink.Route, error) {
	routes, err := dump(func() ([]netlink.Route, error) {
		everyTable := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		return netlink.RouteListFiltered(netlink.FAMILY_V6, everyTable, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list IPv6 routes: %w", err)
	}
	routes = slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isUnicast(r) || !leadsEverywhere(r) })
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(a.Priority, b.Priority) })
	return routes, nil
}

// leadsEverywhere reports whether a route covers the IPv6 Internet: ::/0, or the 2000::/3 that some use in its place.
func leadsEverywhere(route netlink.Route) bool {
	if route.Dst == nil {
		return true
	}
	dst, ok := netip.AddrFromSlice(route.Dst.IP)
	bits, _ := route.Dst.Mask.Size()
	return ok && bits <= globalUnicast().Bits() && netip.PrefixFrom(dst, bits).Contains(globalUnicast().Addr())
}

// usableInterfaces returns the indexes of the interfaces that a route leads to, those without a carrier left out.
func usableInterfaces(route netlink.Route) []int {
	const unusable = unix.RTNH_F_DEAD | unix.RTNH_F_LINKDOWN
	var indexes []int
	if len(route.MultiPath) == 0 && route.Flags&unusable == 0 {
		indexes = append(indexes, route.LinkIndex)
	}
	for _, hop := range route.MultiPath {
		if hop.Flags&unusable == 0 {
			indexes = append(indexes, hop.LinkIndex)
		}
	}
	return indexes
}

// globallyAddressed returns the indexes of the interfaces that have an address of the IPv6 Internet, Teredo left out.
func globallyAddressed() (map[int]bool, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list IPv6 addresses: %w", err)
	}
	addressed := make(map[int]bool)
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if ok && isPreferred(a) && globalUnicast().Contains(addr) && !teredo.IsTeredo(addr) {
			addressed[a.LinkIndex] = true
		}
	}
	return addressed, nil
}
