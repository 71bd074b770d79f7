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

// GlobalIPv6 returns an IPv6 address of this host that is global and not Teredo, or else a unique local one (RFC 4193).
// It is false when the host has neither. Addresses that are tentative, duplicate or deprecated do not count.
func GlobalIPv6() (netip.Addr, bool) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return netip.Addr{}, false
	}
	var uniqueLocal netip.Addr
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		switch {
		case !ok || !isPreferred(a) || !addr.IsGlobalUnicast() || teredo.IsTeredo(addr):
		case !addr.IsPrivate():
			return addr, true
		case !uniqueLocal.IsValid():
			uniqueLocal = addr
		}
	}
	return uniqueLocal, uniqueLocal.IsValid()
}

// OwnIPv6 returns the IPv6 addresses of this host that packets can have beyond a link and outside the Teredo service, with the
// length of their subnet, in ascending order. Deprecated ones are among them, as connections in progress use them; tentative and
// duplicate ones are not.
func OwnIPv6() ([]netip.Prefix, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list IPv6 addresses: %w", err)
	}
	var own []netip.Prefix
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if ok && isUsable(a) && addr.IsGlobalUnicast() && !teredo.IsTeredo(addr) {
			bits, _ := a.Mask.Size()
			own = append(own, netip.PrefixFrom(addr, bits))
		}
	}
	slices.SortFunc(own, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(own), nil
}

// SubnetRouter returns the anycast address of the routers of a subnet (RFC 4291 §2.6.1), which Linux takes for its own while it
// forwards. Subnets of one or two addresses have none (RFC 6164 §5.1).
func SubnetRouter(subnet netip.Prefix) (netip.Addr, bool) {
	return subnet.Masked().Addr(), subnet.Bits() < 127
}

// isUsable tells addresses that packets can have from those whose duplicate address detection has failed or is not over.
func isUsable(a netlink.Addr) bool { return a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 }

// isPreferred tells the usable addresses that new connections may have (RFC 4862 §5.5.4).
func isPreferred(a netlink.Addr) bool { return isUsable(a) && a.Flags&unix.IFA_F_DEPRECATED == 0 }

// Gateway returns the router that packets to the IPv4 address remote are handed to, as the kernel's routes and rules are now.
// It is false when there is no route, or one that leads to no router.
func Gateway(remote netip.Addr) (netip.Addr, bool) {
	routes, err := netlink.RouteGet(remote.AsSlice())
	if err != nil || len(routes) == 0 {
		return netip.Addr{}, false
	}
	gateway, ok := netip.AddrFromSlice(routes[0].Gw)
	return gateway.Unmap(), ok && gateway.Unmap().Is4()
}

// Subnets returns the IPv4 subnet of each address of this host, loopback left out, in ascending order. The subnet of a
// point-to-point address is that of its peer.
func Subnets() ([]netip.Prefix, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list IPv4 addresses: %w", err)
	}
	var subnets []netip.Prefix
	for _, a := range addrs {
		subnet := a.IPNet
		if a.Peer != nil {
			subnet = a.Peer
		}
		addr, ok := netip.AddrFromSlice(subnet.IP)
		bits, _ := subnet.Mask.Size()
		if ok && !addr.IsLoopback() {
			subnets = append(subnets, netip.PrefixFrom(addr, bits).Masked())
		}
	}
	slices.SortFunc(subnets, netip.Prefix.Compare)
	return slices.Compact(subnets), nil
}
