package netcfg

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/memory"
	"github.com/teredo-suite/teredo/teredo"
)

// addrGenModeNone keeps the kernel from making addresses of its own (IN6_ADDR_GEN_MODE_NONE).
const addrGenModeNone = 1

// ClientUp prepares the interface of a Teredo client: MTU in bytes (C-CFG-03), no autoconfiguration by the kernel,
// link-local address fe80::ffff:ffff:ffff/64, up. It makes no route: see SetAddress.
//
// It returns ErrRouteTaken when 2001::/32 is on-link at another interface, as two Teredo tunnels cannot share a host,
// and ErrIPv6Off when the host has no IPv6.
func ClientUp(ifname string, mtu int) error {
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	if err := refuseRival(link); err != nil {
		return err
	}
	return bringUp(link, mtu, teredo.ClientLinkLocal(false, netip.AddrPort{}))
}

// RelayUp prepares the interface of a Teredo relay: MTU in bytes, no autoconfiguration by the kernel, the given link-local
// address with a /64, up. Packets of this host, and those that come to it, then go there if they are for 2001::/32 or for the native
// addresses of clients; AnnounceRelay invites more.
//
// It returns ErrRouteTaken when 2001::/32 is on-link at another interface, and ErrIPv6Off when the host has no IPv6.
func RelayUp(ifname string, mtu int, linkLocal netip.Addr, natives ...netip.Prefix) error {
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	if err := refuseRival(link); err != nil {
		return err
	}
	if err := bringUp(link, mtu, linkLocal); err != nil {
		return err
	}
	return makeRoutes(link, relayRoutes(false, natives))
}

// AnnounceRelay makes the routes that a routing daemon announces: 2001::/32, and those to the native addresses of clients.
func AnnounceRelay(ifname string, natives ...netip.Prefix) error {
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	return makeRoutes(link, announcedRoutes(natives))
}

// WithdrawRelay undoes AnnounceRelay.
func WithdrawRelay(ifname string, natives ...netip.Prefix) error {
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	for _, r := range announcedRoutes(natives) {
		if err := removeRoute(link, r, netip.Addr{}); err != nil {
			return err
		}
	}
	return nil
}

// LimitSegments has the kernel make super-packets of no more than most segments of the host's own TCP flows. It must not be
// used where packets of other hosts are forwarded to the interface: larger super-packets of theirs would be cut up.
func LimitSegments(ifname string, most int) error {
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	if err := netlink.LinkSetGSOMaxSegs(link, most); err != nil {
		return explain(fmt.Sprintf("limit the super-packets of interface %s to %d segments", ifname, most), err)
	}
	return nil
}

// SetAddress makes addr the Teredo address of the interface: addr/128 without duplicate address detection (the mapped
// address and port in it are ours alone), the route 2001::/32, and a default route that any native one beats (C-CFG-04).
// Both routes have addr as preferred source. Any other Teredo address of the interface is withdrawn.
func SetAddress(ifname string, addr netip.Addr) error {
	if !teredo.IsTeredo(addr) {
		return fmt.Errorf("set address of interface %s: %s is not a Teredo address", ifname, addr)
	}
	link, err := findLink(ifname)
	if err != nil {
		return err
	}
	if err := enableIPv6(link); err != nil {
		return err
	}
	if err := addAddress(link, netip.PrefixFrom(addr, 128)); err != nil {
		return err
	}
	for _, route := range []tunnelRoute{teredoRoute(), defaultRoute()} {
		if err := replaceRoute(link, route, addr); err != nil {
			return err
		}
	}
	if err := removeAddresses(link, func(a netip.Addr) bool { return teredo.IsTeredo(a) && a != addr }); err != nil {
		return err
	}
	awaitLocal(addr)
	return nil
}

const (
	localTries = 100
	localPause = time.Millisecond
)

// awaitLocal waits until the kernel takes packets to addr, but not for long. It installs the route for that from a work queue, some
// milliseconds after it has accepted the address, or later on a busy host; packets that arrive before are lost.
func awaitLocal(addr netip.Addr) {
	for range localTries {
		routes, err := netlink.RouteGet(net.IP(addr.AsSlice()))
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		time.Sleep(localPause)
	}
}

// ClearAddress withdraws what SetAddress made for addr. What is already gone, even the interface, is no error, and routes
// that have since been given another source stay.
func ClearAddress(ifname string, addr netip.Addr) error {
	link, err := findLink(ifname)
	if notFound := (netlink.LinkNotFoundError{}); errors.As(err, &notFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, route := range []tunnelRoute{defaultRoute(), teredoRoute()} {
		if err := removeRoute(link, route, addr); err != nil {
			return err
		}
	}
	return removeAddresses(link, func(a netip.Addr) bool { return a == addr })
}

// bringUp does what client and relay interfaces have in common. The order matters: an interface has no IPv6 settings while
// its MTU is below 1280, and the kernel makes its own link-local address as soon as the interface is up.
func bringUp(link netlink.Link, mtu int, linkLocal netip.Addr) error {
	name := link.Attrs().Name
	if mtu < teredo.MTU {
		return fmt.Errorf("MTU %d of interface %s is below %d, the least that IPv6 allows", mtu, name, teredo.MTU)
	}
	if !linkLocal.Is6() || !linkLocal.IsLinkLocalUnicast() {
		return fmt.Errorf("address %s of interface %s is not an IPv6 link-local address", linkLocal, name)
	}
	if err := netlink.LinkSetMTU(link, mtu); err != nil {
		return explain(fmt.Sprintf("set MTU %d of interface %s", mtu, name), err)
	}
	if err := extendQueue(link); err != nil {
		return err
	}
	if err := enableIPv6(link); err != nil {
		return err
	}
	if err := refuseAutoconfiguration(link); err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return explain("bring up interface "+name, err)
	}
	return addAddress(link, netip.PrefixFrom(linkLocal, 64))
}

// mostQueued is how many packets wait at the interface for the program. The kernel drops the rest without slowing the sender down. Its
// own limit of 500 is reached when the program gets no processor for 2 ms while datagrams come at 250,000 a second.
const mostQueued = 4096

// extendQueue makes room for mostQueued packets, or for fewer if super-packets of 64 KiB could fill a sixteenth of the memory with them.
// A queue that is long enough stays as it is, and so does one when the memory is not known.
func extendQueue(link netlink.Link) error {
	available, err := memory.Available()
	length := int(min(mostQueued, available/16>>16))
	if err != nil || link.Attrs().TxQLen >= length {
		return nil
	}
	if err := netlink.LinkSetTxQLen(link, length); err != nil {
		return explain(fmt.Sprintf("make room for %d packets at interface %s", length, link.Attrs().Name), err)
	}
	return nil
}

// refuseAutoconfiguration leaves addresses and routes of the interface to us alone. Without it the kernel makes up a link-local
// address, sends router solicitations of its own, and would configure itself from advertisements that arrive.
func refuseAutoconfiguration(link netlink.Link) error {
	name := link.Attrs().Name
	if err := netlink.LinkSetIP6AddrGenMode(link, addrGenModeNone); err != nil {
		return explain("keep the kernel from making addresses for interface "+name, err)
	}
	for _, setting := range []string{"accept_ra", "router_solicitations"} {
		err := writeSetting(confDir, name, setting, "0")
		// In a container /proc/sys can be read-only. These two are a second line of defence:
		// advertisements have link-local sources, and the tunnel carries none of those between network and kernel.
		if err != nil && !errors.Is(err, unix.EROFS) {
			return explain("turn off "+setting+" of interface "+name, err)
		}
	}
	return nil
}

func addAddress(link netlink.Link, prefix netip.Prefix) error {
	err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(prefix), Flags: unix.IFA_F_NODAD})
	if err != nil {
		return explain(fmt.Sprintf("add address %s to interface %s", prefix, link.Attrs().Name), err)
	}
	return nil
}

// removeAddresses deletes those IPv6 addresses of the interface that match.
func removeAddresses(link netlink.Link, match func(netip.Addr) bool) error {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(link, netlink.FAMILY_V6) })
	if err != nil {
		return fmt.Errorf("list addresses of interface %s: %w", link.Attrs().Name, err)
	}
	for _, a := range addrs {
		addr, ok := netip.AddrFromSlice(a.IP)
		if !ok || !match(addr) {
			continue
		}
		if err := netlink.AddrDel(link, &a); err != nil && !isGone(err) {
			return explain(fmt.Sprintf("remove address %s from interface %s", addr, link.Attrs().Name), err)
		}
	}
	return nil
}

func findLink(ifname string) (netlink.Link, error) {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return nil, explain("find interface "+ifname, err)
	}
	return link, nil
}

// explain wraps err with what was being done, and with the remedy when the cause is a missing right.
func explain(doing string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: run as root or grant CAP_NET_ADMIN", doing, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w: change the setting from outside the container, or give it a writable /proc/sys", doing, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// isGone reports the kernel's ways to say that what should be deleted does not exist (any more).
func isGone(err error) bool {
	for _, gone := range []error{unix.ESRCH, unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENXIO} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}

// dump asks the kernel for a list, again while the list changed under the kernel's hands.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const attempts = 5
	var items []T
	var err error
	for range attempts {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return items, err
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
