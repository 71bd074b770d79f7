package netcfg

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	ethernet = "2001:db8::2/64"
	gateway  = "2001:db8::1"
)

// SUN-01, C-CFG-04: what counts as IPv6 connectivity by other means than Teredo.
func TestNativeIPv6(t *testing.T) {
	tests := []struct {
		name  string
		addrs []string
		route string
		want  string
	}{
		{"nothing", nil, "", ""},
		{"an address without a route", []string{ethernet}, "", ""},
		{"a route without an address", nil, "::/0", ""},
		{"both", []string{ethernet}, "::/0", "native"},
		{"a route to the global unicast range", []string{ethernet}, "2000::/3", "native"},
		{"a route to a part of it", []string{ethernet}, "2400::/6", ""},
		{"a route to another range", []string{ethernet}, "fc00::/7", ""},
		{"a link-local address", []string{"fe80::2/64"}, "::/0", ""},
		{"a unique local address", []string{"fd00::2/64"}, "::/0", ""},
		{"a Teredo address", []string{addr1 + "/128"}, "::/0", ""},
		{"a 6to4 address", []string{"2002:c000:201::1/48"}, "::/0", "native"},
		{"one good address of several", []string{addr1 + "/128", "fd00::2/64", ethernet}, "::/0", "native"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			native := newNative(t, "native", tt.addrs...)
			if tt.route != "" {
				addRoute(t, native, tt.route, 100, "fe80::1")
			}
			checkNative(t, tunName, tt.want)
		})
	}
}

func checkNative(t *testing.T, except, want string) {
	t.Helper()
	via, ok, err := NativeIPv6(except)
	if err != nil || via != want || ok != (want != "") {
		t.Errorf("%q %v %v, want %q", via, ok, err, want)
	}
}

// Our own routes and address are no native connectivity, while native ones beside them are.
func TestNativeIPv6BesideTeredo(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
	checkNative(t, tunName, "")

	native := newNative(t, "native", ethernet)
	checkNative(t, tunName, "")
	addRoute(t, native, "::/0", 1024, gateway)
	checkNative(t, tunName, "native")
	checkNative(t, "native", "")
	must(t, netlink.LinkSetDown(native))
	checkNative(t, tunName, "")
}

func TestNativeIPv6UnusableAddress(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native")
	set(t, "native", "dad_transmits", "1000") // duplicate address detection outlasts the test
	addRoute(t, native, "::/0", 100, "fe80::1")
	addFlagged(t, native, "2001:db8::1/64", 0)
	checkNative(t, tunName, "") // tentative
	deprecated := netlink.Addr{
		IPNet: ipNet(netip.MustParsePrefix("2001:db8::2/64")), Flags: unix.IFA_F_NODAD, ValidLft: 3600, PreferedLft: 0,
	}
	must(t, netlink.AddrAdd(native, &deprecated))
	checkNative(t, tunName, "")
	deprecated.PreferedLft = 1800
	must(t, netlink.AddrReplace(native, &deprecated))
	checkNative(t, tunName, "native")
}

func TestNativeIPv6UnusableRoute(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native", ethernet)
	everywhere := ipNet(netip.MustParsePrefix("::/0"))
	must(t, netlink.RouteAdd(&netlink.Route{Dst: everywhere, Type: unix.RTN_UNREACHABLE, Priority: 50}))
	checkNative(t, tunName, "")
	addRoute(t, native, "::/0", 100, gateway)
	checkNative(t, tunName, "native")

	far, err := netlink.LinkByName("native-far")
	must(t, err)
	hasNative := func() bool {
		_, ok, err := NativeIPv6(tunName)
		must(t, err)
		return ok
	}
	must(t, netlink.LinkSetDown(far)) // the cable is out
	eventually(t, "no connectivity", func() bool { return !hasNative() })
	must(t, netlink.LinkSetUp(far))
	eventually(t, "connectivity", hasNative)
}

// The best route is named that has an address on its interface, in whichever table it is.
func TestNativeIPv6OfSeveral(t *testing.T) {
	inNamespace(t)
	slow := newNative(t, "slow", "2001:db8:1::2/64")
	addRoute(t, slow, "::/0", 600, "2001:db8:1::1")
	checkNative(t, tunName, "slow")
	fast := newNative(t, "fast", "2001:db8:2::2/64")
	addRoute(t, fast, "::/0", 100, "2001:db8:2::1")
	checkNative(t, tunName, "fast")
	checkNative(t, "fast", "slow")
	must(t, netlink.AddrDel(fast, addrOf("2001:db8:2::2/64")))
	checkNative(t, tunName, "slow")

	vpn := newNative(t, "vpn", "2001:db8:3::2/64")
	must(t, netlink.RouteAdd(&netlink.Route{
		LinkIndex: vpn.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("::/0")), Table: 51820, Priority: 50,
	}))
	checkNative(t, tunName, "vpn")
}

func TestNativeIPv6Multipath(t *testing.T) {
	inNamespace(t)
	a, b := newNative(t, "a"), newNative(t, "b", ethernet)
	hops := []*netlink.NexthopInfo{
		{LinkIndex: a.Attrs().Index, Gw: net.ParseIP("fe80::1")}, {LinkIndex: b.Attrs().Index, Gw: net.ParseIP("fe80::1")},
	}
	must(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("::/0")), MultiPath: hops}))
	checkNative(t, tunName, "b")
	checkNative(t, "b", "")
}
