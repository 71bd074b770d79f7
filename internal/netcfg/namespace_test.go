//go:build linux

package netcfg

import (
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/tun"
)

// tunName is the interface that the tests configure. The dot checks that no name is taken for a path of settings.
const tunName = "teredo.0"

// inNamespace moves the test to a network namespace of its own, which ends with the test: its thread stays locked, and dies.
func inNamespace(t *testing.T) {
	t.Helper()
	unshare(t, unix.CLONE_NEWNET)
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

func unshare(t *testing.T, flags int) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(flags); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no namespace of its own for the test (run as root): %v", err)
		}
		t.Skipf("no namespace of its own for the test (run as root): %v", err)
	}
}

// newTUN creates the TUN device as the programs do, and removes it after the test.
func newTUN(t *testing.T) {
	t.Helper()
	dev, err := tun.Open(tunName, offload.Auto)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
}

// newNative creates an Ethernet interface that is up, has a carrier, and has the given addresses.
func newNative(t *testing.T, name string, prefixes ...string) netlink.Link {
	t.Helper()
	far := name + "-far"
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: far}))
	for _, end := range []string{far, name} {
		link, err := netlink.LinkByName(end)
		must(t, err)
		must(t, netlink.LinkSetUp(link))
	}
	link, err := netlink.LinkByName(name)
	must(t, err)
	for _, p := range prefixes {
		addFlagged(t, link, p, unix.IFA_F_NODAD)
	}
	return link
}

func addFlagged(t *testing.T, link netlink.Link, prefix string, flags int) {
	t.Helper()
	must(t, netlink.AddrAdd(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(prefix)), Flags: flags}))
}

// addRoute adds a route as an operator or a router would have it.
func addRoute(t *testing.T, link netlink.Link, prefix string, metric int, gateway string) {
	t.Helper()
	route := netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.MustParsePrefix(prefix)), Priority: metric}
	if gateway != "" {
		route.Gw = netip.MustParseAddr(gateway).AsSlice()
	}
	must(t, netlink.RouteAdd(&route))
}

// wayTo asks the kernel which interface and source address a packet to the destination would have.
// Both are empty when it has no route.
func wayTo(t *testing.T, destination string) (ifname, source string) {
	t.Helper()
	routes, err := netlink.RouteGet(netip.MustParseAddr(destination).AsSlice())
	if err != nil {
		return "", ""
	}
	return interfaceName(routes[0].LinkIndex), routes[0].Src.String()
}

// addresses lists the IPv6 addresses of the interface.
func addresses(t *testing.T, ifname string) []string {
	t.Helper()
	link, err := netlink.LinkByName(ifname)
	must(t, err)
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	must(t, err)
	var list []string
	for _, a := range addrs {
		list = append(list, a.IPNet.String())
	}
	return list
}

// routes lists the routes of the interface that we add, those of the kernel left out: destination, metric and source.
func routes(t *testing.T, ifname string) []string {
	t.Helper()
	link, err := netlink.LinkByName(ifname)
	must(t, err)
	all, err := netlink.RouteList(link, netlink.FAMILY_V6)
	must(t, err)
	var list []string
	for _, r := range all {
		if r.Protocol == unix.RTPROT_KERNEL {
			continue
		}
		fields := []string{r.Dst.String()}
		switch r.Priority {
		case teredoMetric:
			fields = append(fields, "teredo")
		case defaultMetric:
			fields = append(fields, "last")
		}
		if r.Src != nil {
			fields = append(fields, r.Src.String())
		}
		list = append(list, strings.Join(fields, " "))
	}
	slices.Sort(list)
	return list
}

func setting(t *testing.T, ifname, name string) string {
	t.Helper()
	value, err := readSetting(confDir, ifname, name)
	must(t, err)
	return value
}

func set(t *testing.T, ifname, name, value string) {
	t.Helper()
	must(t, writeSetting(confDir, ifname, name, value))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
