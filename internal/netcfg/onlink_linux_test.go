package netcfg

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestOnLink(t *testing.T) {
	native64 := netip.MustParsePrefix("2001:db8:c::/64")
	for name, test := range map[string]struct {
		addrs    []string
		route    string // to the link, or by way of a gateway
		gateway  string
		want     string
		covering string
	}{
		"nothing":              {},
		"an address":           {addrs: []string{"2001:db8:c::2/64"}, want: "native", covering: "2001:db8:c::/64"},
		"a shorter prefix":     {addrs: []string{"2001:db8:c::2/48"}, want: "native", covering: "2001:db8:c::/48"},
		"both":                 {addrs: []string{"2001:db8:c::2/48", "2001:db8:c::3/64"}, want: "native", covering: "2001:db8:c::/64"},
		"a route to the link":  {route: "2001:db8:c::/64", want: "native", covering: "2001:db8:c::/64"},
		"an address alone":     {addrs: []string{"2001:db8:c::2/128"}},
		"another prefix":       {addrs: []string{"2001:db8:d::2/64"}},
		"a route to a gateway": {addrs: []string{"2001:db8:d::2/64"}, route: "2001:db8:c::/56", gateway: "2001:db8:d::1"},
		"a default route":      {route: "::/0"},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			native := newNative(t, "native", test.addrs...)
			if test.route != "" {
				addRoute(t, native, test.route, 100, test.gateway)
			}
			ifname, covering, err := OnLink(native64, "other")
			if err != nil || ifname != test.want || test.covering != "" && covering.String() != test.covering {
				t.Errorf("%q %v %v, want %q %s", ifname, covering, err, test.want, test.covering)
			}
			if ifname, _, err := OnLink(native64, "native"); ifname != "" || err != nil {
				t.Errorf("on-link at %q, %v, which is left out", ifname, err)
			}
		})
	}
}

// Nobody else has the addresses of the host, also tentative ones, nor those of its gateways.
func TestTakenIPv6(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native", ethernet)
	addFlagged(t, native, "2001:db8:c::2/64", unix.IFA_F_DEPRECATED|unix.IFA_F_NODAD)
	addRoute(t, native, "::/0", 100, gateway)
	taken, err := TakenIPv6()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"2001:db8::2", "2001:db8::", "2001:db8:c::2", "2001:db8:c::", gateway} {
		if !taken[netip.MustParseAddr(a)] {
			t.Errorf("%s is not taken", a)
		}
	}
	if taken[netip.MustParseAddr("2001:db8::3")] {
		t.Error("an address that nobody has is taken")
	}
}

// A gateway stays reachable on its link while a tunnel has the route to its prefix.
func TestGateways(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	native := newNative(t, "native", ethernet)
	addRoute(t, native, "::/0", 100, gateway)
	addRoute(t, native, "2400::/6", 100, "fe80::9")
	before := routes(t, "native")
	prefix := netip.MustParsePrefix("2001:db8::/64")
	must(t, RelayUp(tunName, 1280, netip.MustParseAddr("fe80::1"), prefix))
	wantWay := func(destination, want string) {
		t.Helper()
		if ifname, _ := wayTo(t, destination); ifname != want {
			t.Errorf("%s is reached by %q, want %q", destination, ifname, want)
		}
	}
	wantWay(gateway, tunName)
	var log strings.Builder
	k := KeepGateways(slog.New(slog.NewTextHandler(&log, nil)), prefix)
	for range 2 {
		must(t, k.Follow())
		wantWay(gateway, "native")
		wantWay("2001:db8::3", tunName)
		wantWay("2600::1", "native")
	}
	k.Undo()
	if after := routes(t, "native"); !slices.Equal(before, after) || log.Len() > 0 {
		t.Errorf("routes %q, before %q\n%s", after, before, log.String())
	}
}

// The default route that is lost when forwarding is turned on is the kernel's own from advertisements, unless accept_ra is 2.
func TestAdvertisedDefault(t *testing.T) {
	for name, test := range map[string]struct {
		protocol int
		acceptRA string
		want     string
	}{
		"from advertisements":               {unix.RTPROT_RA, "1", "native"},
		"from advertisements, accept_ra 2":  {unix.RTPROT_RA, "2", ""},
		"of a network manager, accept_ra 0": {unix.RTPROT_RA, "0", ""},
		"made by hand":                      {unix.RTPROT_STATIC, "1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			native := newNative(t, "native", ethernet)
			set(t, "native", "accept_ra", test.acceptRA)
			must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: native.Attrs().Index, Dst: ipNet(netip.MustParsePrefix("::/0")),
				Gw: netip.MustParseAddr(gateway).AsSlice(), Protocol: netlink.RouteProtocol(test.protocol)}))
			if got, err := AdvertisedDefault(); got != test.want || err != nil {
				t.Errorf("%q, %v, want %q", got, err, test.want)
			}
		})
	}
}
