package netcfg

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// KeepAddresses has this host accept packets for IPv4 addresses as long as the interface exists. The interface has none of them, so no
// routing daemon announces them.
func KeepAddresses(ifname string, addrs ...netip.Addr) error {
	link, err := ipv4Only(ifname)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		err := netlink.RouteReplace(&netlink.Route{
			LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, 32)), Protocol: carriedProtocol,
			Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST, Table: unix.RT_TABLE_LOCAL,
		})
		if err != nil {
			return explain(fmt.Sprintf("have this host accept packets for %s", a), err)
		}
	}
	return nil
}

// AnnounceAddresses gives IPv4 addresses to the interface, where a routing daemon finds what it announces.
func AnnounceAddresses(ifname string, addrs ...netip.Addr) error {
	link, err := ipv4Only(ifname)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a, 32))}); err != nil {
			return explain(fmt.Sprintf("add address %s to interface %s", a, ifname), err)
		}
	}
	return nil
}

// ipv4Only brings an interface up that has no IPv6: with a smaller MTU than IPv6 needs, the kernel gives it no IPv6 addresses.
func ipv4Only(ifname string) (netlink.Link, error) {
	link, err := findLink(ifname)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetMTU(link, teredo.MTU-1); err != nil {
		return nil, explain("set the MTU of interface "+ifname, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return nil, explain("bring up interface "+ifname, err)
	}
	return link, nil
}

// HasAddress returns the interface that has an IPv4 address; "": none has.
func HasAddress(a netip.Addr) (ifname string, err error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return "", fmt.Errorf("list IPv4 addresses: %w", err)
	}
	for _, has := range addrs {
		if has.IP.Equal(a.AsSlice()) {
			return interfaceName(has.LinkIndex), nil
		}
	}
	return "", nil
}
