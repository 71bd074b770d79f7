package netcfg

import (
	"errors"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	addr1 = "2001:0:c000:201:0:63bf:3fff:fdd2"
	addr2 = "2001:0:c000:201:8000:63be:3fff:fdd2"

	clientLinkLocal = "fe80::ffff:ffff:ffff/64"
	relayLinkLocal  = "fe80::8000:5445:5245:444f"

	nativeHost = "2600::1"                          // a destination outside 2001::/32
	teredoHost = "2001:0:c000:202:0:63be:39cc:9bfe" // a destination inside
)

func TestClientUp(t *testing.T) {
	inNamespace(t)
	newTUN(t)

	for range 2 { // the second time changes nothing
		must(t, ClientUp(tunName, 1280))
		checkInterface(t, 1280, []string{clientLinkLocal}, nil)
	}
	must(t, ClientUp(tunName, 1400))
	checkInterface(t, 1400, []string{clientLinkLocal}, nil)
}

// Datagrams wait for a program that gets no processor for a while. A queue that somebody has made longer stays.
func TestQueue(t *testing.T) {
	inNamespace(t)
	newTUN(t)

	must(t, ClientUp(tunName, 1280))
	if link, err := netlink.LinkByName(tunName); err != nil || link.Attrs().TxQLen <= 500 {
		t.Errorf("%+v, %v", link.Attrs(), err)
	}
	disturb(t, "ip link set "+tunName+" txqueuelen 10000")
	must(t, ClientUp(tunName, 1280))
	if link, err := netlink.LinkByName(tunName); err != nil || link.Attrs().TxQLen != 10000 {
		t.Errorf("%+v, %v", link.Attrs(), err)
	}
}

// carried are the routes of a relay with the Teredo prefix, and a native one.
var (
	carried       = []string{"2001:0:8000::/33 teredo", "2001::/33 teredo"}
	carriedNative = []string{"2001:db8:c::/65", "2001:db8:c:0:8000::/65"}
)

// R-RT-01: packets for clients that come to this host are the relay's. Routes to be announced are made by AnnounceRelay alone.
func TestRelayUp(t *testing.T) {
	inNamespace(t)
	newTUN(t)

	for range 2 {
		must(t, RelayUp(tunName, 1280, netip.MustParseAddr(relayLinkLocal)))
		checkInterface(t, 1280, []string{relayLinkLocal + "/64"}, carried)
	}
	// With a native prefix, which may be that of a link as well.
	disturb(t, "ip link add link0 type veth peer name link1")
	disturb(t, "ip link set link0 up")
	disturb(t, "ip -6 addr add 2001:db8:c::2/64 dev link0 nodad")
	for range 2 {
		must(t, RelayUp(tunName, 1280, netip.MustParseAddr(relayLinkLocal), netip.MustParsePrefix("2001:db8:c::/64")))
		checkInterface(t, 1280, []string{relayLinkLocal + "/64"}, slices.Sorted(slices.Values(slices.Concat(carried, carriedNative))))
	}
	for _, client := range []string{teredoHost, "2001:db8:c::1234"} {
		if ifname, _ := wayTo(t, client); ifname != tunName {
			t.Errorf("a packet to %s leaves at %q", client, ifname)
		}
	}
	if routes, err := exec.Command("ip", "-6", "route", "show", "2001:db8:c::/64", "dev", "link0").Output(); err != nil || len(routes) == 0 {
		t.Errorf("the link's own route is gone: %v", err)
	}
	if ifname, _ := wayTo(t, nativeHost); ifname != "" {
		t.Errorf("a packet to %s leaves at %q, want no route", nativeHost, ifname)
	}
}

// Clients take no room in the host's table of neighbors, which has 1024 entries for all interfaces by default.
func TestClientsAreNoNeighbors(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	native := netip.MustParsePrefix("2001:db8:c::/64")
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal), native))
	must(t, AnnounceRelay(tunName, native))
	link, err := netlink.LinkByName(tunName)
	must(t, err)
	addFlagged(t, link, "2001:db8::1/128", unix.IFA_F_NODAD)
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	must(t, err)
	defer unix.Close(fd)
	for _, prefix := range []netip.Prefix{teredo.Prefix(), native} {
		for n := range byte(100) {
			client := prefix.Addr().As16()
			client[15] = n
			must(t, unix.Sendto(fd, []byte("hello"), 0, &unix.SockaddrInet6{Addr: client, Port: 9}))
		}
	}
	neighbors, err := netlink.NeighList(link.Attrs().Index, netlink.FAMILY_V6)
	must(t, err)
	if len(neighbors) > 10 { // also of multicast groups
		t.Errorf("%d neighbors after packets to 200 clients", len(neighbors))
	}
}

// checkInterface reads back everything that the package sets at the interface.
func checkInterface(t *testing.T, mtu int, wantAddresses, wantRoutes []string) {
	t.Helper()
	link, err := netlink.LinkByName(tunName)
	must(t, err)
	if got := link.Attrs().MTU; got != mtu {
		t.Errorf("MTU %d, want %d (C-CFG-03)", got, mtu)
	}
	if link.Attrs().RawFlags&unix.IFF_UP == 0 {
		t.Error("the interface is down")
	}
	for name, want := range map[string]string{
		"disable_ipv6": "0", "accept_ra": "0", "router_solicitations": "0", "addr_gen_mode": "1",
	} {
		if got := setting(t, tunName, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if diff := cmp.Diff(wantAddresses, addresses(t, tunName)); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantRoutes, routes(t, tunName)); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

func TestSetAddress(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))

	for _, addr := range []string{addr1, addr1, addr2} { // anew, again, and after the mapping changed
		must(t, SetAddress(tunName, netip.MustParseAddr(addr)))
		checkInterface(t, teredo.MTU, []string{addr + "/128", clientLinkLocal},
			[]string{"2001::/32 teredo " + addr, "::/0 last " + addr})
		for _, destination := range []string{nativeHost, teredoHost} {
			if ifname, source := wayTo(t, destination); ifname != tunName || source != addr {
				t.Errorf("a packet to %s leaves at %q from %s", destination, ifname, source)
			}
		}
	}
}

// A tentative address could not be used, nor be the preferred source of a route, until duplicate address detection ends.
func TestSetAddressWithoutDetection(t *testing.T) {
	inNamespace(t)
	newNative(t, tunName) // unlike a TUN device, the kernel does detection at this one
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))

	link, err := netlink.LinkByName(tunName)
	must(t, err)
	addrs, err := netlink.AddrList(link, netlink.FAMILY_V6)
	must(t, err)
	for _, a := range addrs {
		ours := a.IPNet.String() == addr1+"/128" || a.IPNet.String() == clientLinkLocal
		if ours && a.Flags&unix.IFA_F_TENTATIVE != 0 {
			t.Errorf("%s is tentative", a.IPNet)
		}
	}
}

func TestClearAddress(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))

	// An address that is not there takes nothing with it.
	must(t, ClearAddress(tunName, netip.MustParseAddr(addr2)))
	checkInterface(t, teredo.MTU, []string{addr1 + "/128", clientLinkLocal},
		[]string{"2001::/32 teredo " + addr1, "::/0 last " + addr1})

	for range 2 { // the second time finds nothing
		must(t, ClearAddress(tunName, netip.MustParseAddr(addr1)))
		checkInterface(t, teredo.MTU, []string{clientLinkLocal}, nil)
	}
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
	checkInterface(t, teredo.MTU, []string{addr1 + "/128", clientLinkLocal},
		[]string{"2001::/32 teredo " + addr1, "::/0 last " + addr1})
}

func TestClearAddressAfterOthers(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, link netlink.Link)
	}{
		{"interface down", func(t *testing.T, link netlink.Link) { must(t, netlink.LinkSetDown(link)) }},
		{"interface gone", func(t *testing.T, link netlink.Link) { must(t, netlink.LinkDel(link)) }},
		{"IPv6 off at the interface", func(t *testing.T, link netlink.Link) { set(t, tunName, "disable_ipv6", "1") }},
		{"MTU too small for IPv6", func(t *testing.T, link netlink.Link) { must(t, netlink.LinkSetMTU(link, 1000)) }},
		{"address deleted, routes left without a source", func(t *testing.T, link netlink.Link) {
			must(t, netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix(addr1 + "/128"))}))
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			link := newNative(t, tunName)
			must(t, ClientUp(tunName, teredo.MTU))
			must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
			tt.do(t, link)
			must(t, ClearAddress(tunName, netip.MustParseAddr(addr1)))

			all, err := netlink.AddrList(nil, netlink.FAMILY_V6)
			must(t, err)
			for _, a := range all {
				if a.IP.Equal(netip.MustParseAddr(addr1).AsSlice()) {
					t.Errorf("%s is still there", addr1)
				}
			}
			for _, destination := range []string{nativeHost, teredoHost} {
				if ifname, _ := wayTo(t, destination); ifname != "" {
					t.Errorf("a packet to %s still leaves at %q", destination, ifname)
				}
			}
		})
	}
}

// C-CFG-04: Teredo is the way of last resort, but stays the way between two Teredo hosts.
func TestNativeRoutesWin(t *testing.T) {
	tests := []struct {
		name   string
		metric int
	}{
		{"manual", 1024},
		{"network manager at a wireless interface", 20600},
		{"worse than any program makes", 1_000_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			native := newNative(t, "native", "2001:db8::2/64")
			newTUN(t)
			must(t, ClientUp(tunName, teredo.MTU))
			must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
			addRoute(t, native, "::/0", tt.metric, "2001:db8::1")

			if ifname, source := wayTo(t, nativeHost); ifname != "native" || source != "2001:db8::2" {
				t.Errorf("a packet to %s leaves at %q from %s", nativeHost, ifname, source)
			}
			if ifname, source := wayTo(t, teredoHost); ifname != tunName || source != addr1 {
				t.Errorf("a packet to %s leaves at %q from %s", teredoHost, ifname, source)
			}

			must(t, netlink.LinkSetDown(native))
			if ifname, source := wayTo(t, nativeHost); ifname != tunName || source != addr1 {
				t.Errorf("without native IPv6, a packet to %s leaves at %q from %s", nativeHost, ifname, source)
			}
		})
	}
}

func TestRivals(t *testing.T) {
	relayUp := func() error { return RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)) }
	clientUp := func() error { return ClientUp(tunName, teredo.MTU) }
	tests := []struct {
		name    string
		up      func() error
		prefix  string
		gateway string
		want    error
	}{
		{"relay, a tunnel", relayUp, "2001::/32", "", ErrRouteTaken},
		{"relay, a route to another relay", relayUp, "2001::/32", "2001:db8::1", nil},
		{"relay, other prefixes", relayUp, "2001::/33", "", nil},
		{"relay, default route", relayUp, "::/0", "", nil},
		{"client, a tunnel", clientUp, "2001::/32", "", ErrRouteTaken},
		{"client, a route to a relay", clientUp, "2001::/32", "2001:db8::1", nil},
		{"client, default route", clientUp, "::/0", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			addRoute(t, newNative(t, "rival", "2001:db8::2/64"), tt.prefix, 1024, tt.gateway)
			newTUN(t)
			err := tt.up()
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if tt.want != nil && !strings.Contains(err.Error(), "rival") {
				t.Errorf("error %q does not name the other interface", err)
			}
			if tt.want == nil && tt.gateway != "" {
				if strings.HasPrefix(tt.name, "client") {
					must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
				}
				if ifname, _ := wayTo(t, teredoHost); ifname != tunName {
					t.Errorf("a packet to %s leaves at %q", teredoHost, ifname)
				}
			}
		})
	}
}

// Routes to relays elsewhere, which a routing daemon has learnt, are no rivals.
func TestMultipathIsNoRival(t *testing.T) {
	inNamespace(t)
	other := newNative(t, "other", "2001:db8::2/64")
	route := netlink.Route{Dst: ipNet(teredo.Prefix()), Priority: 32} // that of BIRD
	for _, gateway := range []string{"2001:db8::1", "2001:db8::3"} {
		route.MultiPath = append(route.MultiPath, &netlink.NexthopInfo{
			LinkIndex: other.Attrs().Index, Gw: netip.MustParseAddr(gateway).AsSlice(),
		})
	}
	must(t, netlink.RouteAdd(&route))
	newTUN(t)
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)))
	if ifname, _ := wayTo(t, teredoHost); ifname != tunName {
		t.Errorf("a packet to %s leaves at %q", teredoHost, ifname)
	}
}

// An operator's fallback for the time when no relay runs is no rival.
func TestUnreachableIsNoRival(t *testing.T) {
	inNamespace(t)
	must(t, netlink.RouteAdd(&netlink.Route{Dst: ipNet(teredo.Prefix()), Type: unix.RTN_UNREACHABLE, Priority: defaultMetric + 1}))
	newTUN(t)
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)))
	if ifname, _ := wayTo(t, teredoHost); ifname != tunName {
		t.Errorf("a packet to %s leaves at %q", teredoHost, ifname)
	}
}

func TestRefusedArguments(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	linkLocal := netip.MustParseAddr(relayLinkLocal)
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"MTU", ClientUp(tunName, 1279), "MTU 1279 of interface teredo.0 is below 1280, the least that IPv6 allows"},
		{"relay MTU", RelayUp(tunName, 1279, linkLocal), "MTU 1279"},
		{"link-local", RelayUp(tunName, 1280, netip.MustParseAddr("2001:db8::1")), "2001:db8::1 of interface teredo.0 is not an IPv6 link-local address"},
		{"zero link-local", RelayUp(tunName, 1280, netip.Addr{}), "not an IPv6 link-local address"},
		{"IPv4 link-local", RelayUp(tunName, 1280, netip.MustParseAddr("169.254.0.1")), "not an IPv6 link-local address"},
		{"not Teredo", SetAddress(tunName, netip.MustParseAddr("2001:db8::1")), "2001:db8::1 is not a Teredo address"},
		{"no client interface", ClientUp("absent", 1280), "find interface absent"},
		{"no relay interface", RelayUp("absent", 1280, linkLocal), "find interface absent"},
		{"no interface for the address", SetAddress("absent", netip.MustParseAddr(addr1)), "find interface absent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", tt.err, tt.want)
			}
		})
	}
}

func TestLimitSegments(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	const most = 51
	must(t, LimitSegments(tunName, most))
	link, err := netlink.LinkByName(tunName)
	must(t, err)
	if got := link.Attrs().GSOMaxSegs; got != most {
		t.Errorf("super-packets have up to %d segments, want %d", got, most)
	}
	if err := LimitSegments("nosuch0", most); err == nil || !strings.Contains(err.Error(), "nosuch0") {
		t.Errorf("without the interface: %v", err)
	}
}

func TestWithoutPermission(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
	dropCapabilities(t)

	for name, err := range map[string]error{
		"ClientUp":      ClientUp(tunName, teredo.MTU),
		"RelayUp":       RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)),
		"SetAddress":    SetAddress(tunName, netip.MustParseAddr(addr1)),
		"ClearAddress":  ClearAddress(tunName, netip.MustParseAddr(addr1)),
		"LimitSegments": LimitSegments(tunName, 51),
	} {
		if err == nil || !strings.HasSuffix(err.Error(), "run as root or grant CAP_NET_ADMIN") {
			t.Errorf("%s: error %v does not say what to do", name, err)
		}
	}
}

// dropCapabilities takes every capability from the thread of the test, and from no other.
func dropCapabilities(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&header, &none[0]))
}
