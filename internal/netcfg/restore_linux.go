package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// RestoreClient gives the interface of a client back what it has lost of what ClientUp and SetAddress made, and says what that was.
// addr is its Teredo address, zero if it has none. When nothing is lost nothing is changed. An interface that is gone has lost
// nothing: who has it open finds out.
func RestoreClient(ifname string, addr netip.Addr) (lost []string, err error) {
	addresses, routes := []netip.Addr{teredo.ClientLinkLocal(false, netip.AddrPort{})}, []tunnelRoute(nil)
	if addr.IsValid() {
		addresses, routes = append(addresses, addr), []tunnelRoute{teredoRoute(), defaultRoute()}
	}
	return restore(ifname, addresses, routes, addr, func(mtu int) error {
		if err := ClientUp(ifname, mtu); err != nil || !addr.IsValid() {
			return err
		}
		return SetAddress(ifname, addr)
	})
}

// RestoreRelay is RestoreClient for what RelayUp made, and AnnounceRelay if the relay is announced.
func RestoreRelay(ifname string, linkLocal netip.Addr, announced bool, natives ...netip.Prefix) (lost []string, err error) {
	return restore(ifname, []netip.Addr{linkLocal}, relayRoutes(announced, natives), netip.Addr{}, func(mtu int) error {
		if err := RelayUp(ifname, mtu, linkLocal, natives...); err != nil || !announced {
			return err
		}
		return AnnounceRelay(ifname, natives...)
	})
}

// restore looks whether the interface is up, and has the addresses and the routes with their source. If not it calls up with the
// MTU that the interface has, or the least that IPv6 allows.
func restore(ifname string, addresses []netip.Addr, routes []tunnelRoute, source netip.Addr, up func(mtu int) error) (lost []string, err error) {
	link, err := findLink(ifname)
	if notFound := (netlink.LinkNotFoundError{}); errors.As(err, &notFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		lost = append(lost, "the state up")
	}
	lostAddresses, err := missingAddresses(link, addresses)
	if err != nil {
		return nil, err
	}
	lostRoutes, err := missingRoutes(link, routes, source)
	if err != nil {
		return nil, err
	}
	if lost = slices.Concat(lost, lostAddresses, lostRoutes); len(lost) == 0 {
		return nil, nil
	}
	return lost, up(max(link.Attrs().MTU, teredo.MTU))
}

// missingAddresses names those of the addresses that the interface does not have.
func missingAddresses(link netlink.Link, addresses []netip.Addr) (missing []string, err error) {
	has, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return nil, fmt.Errorf("list addresses of interface %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addresses {
		if !slices.ContainsFunc(has, func(h netlink.Addr) bool { return h.IP.Equal(a.AsSlice()) }) {
			missing = append(missing, "address "+a.String())
		}
	}
	return missing, nil
}

// missingRoutes names those of the routes that the interface does not have, or not with the source, unless that is zero.
func missingRoutes(link netlink.Link, routes []tunnelRoute, source netip.Addr) (missing []string, err error) {
	for _, r := range routes {
		has, err := routesOf(link, r)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(has, func(h netlink.Route) bool { return !source.IsValid() || h.Src.Equal(source.AsSlice()) }) {
			missing = append(missing, "route "+r.prefix.String())
		}
	}
	return missing, nil
}
