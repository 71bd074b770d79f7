//go:build darwin || freebsd || netbsd || openbsd

package netcfg

import (
	"net/netip"
	"syscall"

	"golang.org/x/net/route"
)

// Gateway returns the router that packets to the IPv4 address remote are handed to. It is false when there is no route, or one
// that leads to no router.
func Gateway(remote netip.Addr) (gateway netip.Addr, ok bool) {
	table, err := route.FetchRIB(syscall.AF_INET, route.RIBTypeRoute, 0)
	if err != nil {
		return netip.Addr{}, false
	}
	messages, err := route.ParseRIB(route.RIBTypeRoute, table)
	if err != nil {
		return netip.Addr{}, false
	}
	longest := -1
	for _, message := range messages {
		m, isRoute := message.(*route.RouteMessage)
		if !isRoute || m.Flags&syscall.RTF_UP == 0 || len(m.Addrs) <= syscall.RTAX_NETMASK {
			continue
		}
		prefix, known := destination(m)
		if !known || !prefix.Contains(remote) || prefix.Bits() <= longest {
			continue
		}
		longest = prefix.Bits()
		var router *route.Inet4Addr
		if router, ok = m.Addrs[syscall.RTAX_GATEWAY].(*route.Inet4Addr); ok && m.Flags&syscall.RTF_GATEWAY != 0 {
			gateway = netip.AddrFrom4(router.IP)
		} else {
			gateway, ok = netip.Addr{}, false
		}
	}
	return gateway, ok
}

// destination is the prefix that a route leads to.
func destination(m *route.RouteMessage) (netip.Prefix, bool) {
	to, ok := m.Addrs[syscall.RTAX_DST].(*route.Inet4Addr)
	if !ok {
		return netip.Prefix{}, false
	}
	bits := 0
	switch mask := m.Addrs[syscall.RTAX_NETMASK].(type) {
	case *route.Inet4Addr:
		for _, b := range mask.IP {
			for ; b&0x80 != 0; b <<= 1 {
				bits++
			}
		}
	case nil:
		if m.Flags&syscall.RTF_HOST != 0 || to.IP != [4]byte{} {
			bits = 32
		}
	}
	return netip.PrefixFrom(netip.AddrFrom4(to.IP), bits), true
}
