package netcfg

import "github.com/vishvananda/netlink"

// TryClient reports what would keep ClientUp from preparing an interface of this name, which need not exist yet. It changes nothing.
func TryClient(ifname string) error { return try(ifname) }

// TryRelay is TryClient for RelayUp.
func TryRelay(ifname string) error { return try(ifname) }

func try(ifname string) error {
	if err := checkIPv6(confDir); err != nil {
		return err
	}
	var link netlink.Link = &netlink.Dummy{} // whose index no interface has
	if existing, err := netlink.LinkByName(ifname); err == nil {
		link = existing
	}
	return refuseRival(link)
}
