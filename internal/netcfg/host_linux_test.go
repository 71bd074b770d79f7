package netcfg

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

func TestGlobalIPv6(t *testing.T) {
	tests := []struct {
		name  string
		addrs []string
		want  string
	}{
		{"none", nil, ""},
		{"link-local only", []string{"fe80::1/64"}, ""},
		{"Teredo only", []string{addr1 + "/128"}, ""},
		{"global", []string{"fe80::1/64", "2001:db8::2/64", addr1 + "/128"}, "2001:db8::2"},
		{"unique local", []string{"fd00::1/64", addr1 + "/128"}, "fd00::1"},
		{"global before unique local", []string{"fd00::1/64", "2001:db8::2/64", "fd00::3/64"}, "2001:db8::2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inNamespace(t)
			newNative(t, "native", tt.addrs...)
			got, ok := GlobalIPv6()
			if ok != (tt.want != "") || ok && got.String() != tt.want {
				t.Errorf("%s %v, want %q", got, ok, tt.want)
			}
		})
	}
}

func TestGlobalIPv6Unusable(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native")
	set(t, "native", "dad_transmits", "1000") // duplicate address detection outlasts the test
	addFlagged(t, native, "2001:db8::1/64", 0)
	must(t, netlink.AddrAdd(native, &netlink.Addr{
		IPNet: ipNet(netip.MustParsePrefix("2001:db8::2/64")), Flags: unix.IFA_F_NODAD, ValidLft: 3600, PreferedLft: 0, // deprecated
	}))
	if got, ok := GlobalIPv6(); ok {
		t.Errorf("%s, want none", got)
	}
	addFlagged(t, native, "2001:db8::3/64", unix.IFA_F_NODAD)
	if got, _ := GlobalIPv6(); got.String() != "2001:db8::3" {
		t.Errorf("%s, want 2001:db8::3", got)
	}
}

// H-02: the addresses that a relay for this host alone serves.
func TestOwnIPv6(t *testing.T) {
	inNamespace(t)
	if got, err := OwnIPv6(); err != nil || len(got) != 0 {
		t.Errorf("%v %v, want none", got, err)
	}
	set(t, "default", "dad_transmits", "1000") // duplicate address detection outlasts the test
	a := newNative(t, "a", "2001:db8::2/64", "fe80::1/64", "fd00::1/64", addr1+"/128", "192.0.2.2/24")
	addFlagged(t, a, "2001:db8::3/64", 0) // tentative
	must(t, netlink.AddrAdd(a, &netlink.Addr{
		IPNet: ipNet(netip.MustParsePrefix("2001:db8::1/64")), Flags: unix.IFA_F_NODAD, ValidLft: 3600, PreferedLft: 0, // deprecated
	}))
	newNative(t, "b", "2001:db8::2/64", "2001:db8:1::1/128")
	got, err := OwnIPv6()
	must(t, err)
	if diff := cmp.Diff("[2001:db8::1/64 2001:db8::2/64 2001:db8:1::1/128 fd00::1/64]", fmt.Sprint(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSubnetRouter(t *testing.T) {
	for subnet, want := range map[string]string{
		"2001:db8::2/64": "2001:db8::", "2001:db8::ff/126": "2001:db8::fc", "2001:db8::3/127": "", "2001:db8::3/128": "",
	} {
		got, ok := SubnetRouter(netip.MustParsePrefix(subnet))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("%s: %v, %t; want %s", subnet, got, ok, want)
		}
	}
}

func TestLocalIPv4(t *testing.T) {
	inNamespace(t)
	native := newNative(t, "native", "192.0.2.2/24", "198.51.100.2/24")

	for remote, want := range map[string]string{
		"192.0.2.1": "192.0.2.2", "198.51.100.1": "198.51.100.2", "198.51.100.2": "198.51.100.2", "127.0.0.1": "127.0.0.1",
	} {
		if got, err := LocalIPv4(netip.MustParseAddr(remote)); err != nil || got.String() != want || !got.Is4() {
			t.Errorf("toward %s: %s %v, want %s", remote, got, err, want)
		}
	}
	for _, remote := range []string{"203.0.113.1", "2001:db8::1"} {
		if got, err := LocalIPv4(netip.MustParseAddr(remote)); err == nil || !strings.Contains(err.Error(), "toward "+remote) {
			t.Errorf("toward %s: %s %v, want an error", remote, got, err)
		}
	}
	if _, err := LocalIPv4(netip.Addr{}); err == nil {
		t.Error("toward nowhere: no error")
	}
	addRoute(t, native, "0.0.0.0/0", 100, "198.51.100.1")
	if got, err := LocalIPv4(netip.MustParseAddr("203.0.113.1")); err != nil || got.String() != "198.51.100.2" {
		t.Errorf("by the default route: %s %v, want 198.51.100.2", got, err)
	}
}

// X-UPNP-02: the NAT that is asked for a port is the router toward the server.
func TestGateway(t *testing.T) {
	inNamespace(t)
	if got, ok := Gateway(netip.MustParseAddr("203.0.113.1")); ok {
		t.Errorf("without a route: %s", got)
	}
	native := newNative(t, "native", "192.0.2.2/24", "2001:db8::1/64")
	addRoute(t, native, "0.0.0.0/0", 100, "192.0.2.1")
	addRoute(t, native, "198.51.100.0/24", 0, "192.0.2.9")
	addRoute(t, native, "198.51.100.128/25", 0, "")
	for remote, want := range map[string]string{
		"203.0.113.1": "192.0.2.1", "198.51.100.1": "192.0.2.9",
		"198.51.100.129": "", "192.0.2.7": "", "192.0.2.2": "", "2001:db8::2": "", // no router is on the way
	} {
		got, ok := Gateway(netip.MustParseAddr(remote))
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("toward %s: %s %t, want %q", remote, got, ok, want)
		}
	}
	if got, ok := Gateway(netip.Addr{}); ok {
		t.Errorf("toward nowhere: %s", got)
	}
}

// SEC-V4-01: the directed-broadcast address of every attached subnet.
func TestBroadcasts(t *testing.T) {
	inNamespace(t)
	newNative(t, "a", "192.0.2.130/25", "192.0.2.131/25", "10.0.0.1/8", "198.51.100.4/31", "198.51.100.9/32", "2001:db8::1/64")
	link := newNative(t, "b", "203.0.113.5/30")
	must(t, netlink.AddrAdd(link, &netlink.Addr{ // the peer's subnet is the attached one
		IPNet: ipNet(netip.MustParsePrefix("172.16.0.1/32")), Peer: ipNet(netip.MustParsePrefix("172.17.0.1/24")),
	}))
	must(t, netlink.AddrAdd(link, &netlink.Addr{ // whatever broadcast address was configured, if any
		IPNet: ipNet(netip.MustParsePrefix("172.18.0.1/24")), Broadcast: net.IPv4zero,
	}))

	got, err := Broadcasts()
	must(t, err)
	var list []string
	for _, a := range got {
		if !a.Is4() {
			t.Errorf("%s is not a plain IPv4 address", a)
		}
		list = append(list, a.String())
	}
	want := []string{"10.255.255.255", "172.17.0.255", "172.18.0.255", "192.0.2.255", "203.0.113.7"}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	filter := teredo.Filter{Broadcasts: got}
	if filter.Global(netip.MustParseAddr("203.0.113.7")) {
		t.Error("a directed-broadcast address passes the global unicast test")
	}
}

// C-LOC-04: the subnets whose hosts may be local peers.
func TestSubnets(t *testing.T) {
	inNamespace(t)
	a := newNative(t, "a", "192.0.2.130/25", "192.0.2.131/25", "10.0.0.1/8", "198.51.100.4/31", "198.51.100.9/32", "2001:db8::1/64")
	must(t, netlink.AddrAdd(a, &netlink.Addr{ // the peer's subnet is the attached one
		IPNet: ipNet(netip.MustParsePrefix("172.16.0.1/32")), Peer: ipNet(netip.MustParsePrefix("172.17.0.1/24")),
	}))
	newNative(t, "b", "10.0.0.2/8")
	got, err := Subnets()
	must(t, err)
	want := "[10.0.0.0/8 172.17.0.0/24 192.0.2.128/25 198.51.100.4/31 198.51.100.9/32]"
	if diff := cmp.Diff(want, fmt.Sprint(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBroadcastsOfNothing(t *testing.T) {
	inNamespace(t)
	if got, err := Broadcasts(); err != nil || len(got) != 0 {
		t.Errorf("%v %v, want none", got, err)
	}
	if got, err := Subnets(); err != nil || len(got) != 0 {
		t.Errorf("subnets %v %v, want none", got, err)
	}
}

func TestDirectedBroadcast(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1/24": "192.0.2.255", "192.0.2.1/30": "192.0.2.3", "10.1.2.3/9": "10.127.255.255", "1.2.3.4/0": "255.255.255.255",
	} {
		p := netip.MustParsePrefix(in)
		if got := directedBroadcast(p.Addr(), p.Bits()); got.String() != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
