package kernelpath

import (
	"bytes"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

// TestServerInDriver forwards bubbles in the driver of an interface whose driver has XDP, and follows its Ethernet address. An answer that
// the driver has no room for is left to the program.
func TestServerInDriver(t *testing.T) {
	inNamespace(t)
	withoutIPv6(t)
	const name = "tap"
	tap := newDevice(t, name, unix.IFF_TAP)
	link := linkOf(t, name)
	gateway := netip.MustParseAddr("192.0.2.254")
	addAddress(t, link, "192.0.2.1/24")
	addAddress(t, link, "192.0.2.2/24")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: gateway.AsSlice()}))
	far := [6]byte{2, 0, 0, 0, 0, 9}

	cfg := twinConfig()
	handler, err := server.NewHandler(cfg)
	must(t, err)
	w := &twins{cfg, handler, openServer(t, kernelConfig(cfg))}
	must(t, w.kernel.Refresh())
	if places := w.kernel.Interfaces(); len(places) != 1 || places[name] != "xdp" {
		t.Fatal(places)
	}
	for _, near := range [][6]byte{[6]byte(link.Attrs().HardwareAddr), {2, 0, 0, 0, 0, 1}} {
		must(t, netlink.LinkSetHardwareAddr(link, near[:]))
		// The kernel has forgotten the neighbor.
		must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, IP: gateway.AsSlice(), HardwareAddr: far[:], State: netlink.NUD_PERMANENT}))
		must(t, w.kernel.Refresh())
		certain, _ := questions()
		for _, kind := range []string{"bubble", "bubble to another server's"} {
			q := certain[kind]
			v := handler.Handle(server.Primary, q.from, q.payload, make([]byte, 0, server.MaxOutput))
			d := w.frame(q)
			d.toMAC, d.fromMAC = near, far
			want := w.answer("tcx", v, nil)
			copy(want, far[:])
			copy(want[6:], near[:])
			answered := false
			for start := time.Now(); !answered && time.Since(start) < patience; { // one in a second goes to the program
				_, err := unix.Write(tap, d.frame())
				must(t, err)
				got := make([]byte, 2048)
				n, err := unix.Read(tap, got)
				if err == unix.EAGAIN {
					continue
				}
				must(t, err)
				if n == len(want) {
					copy(want[ethernetLen+4:], got[ethernetLen+4:ethernetLen+6]) // identification
					setChecksum(want[ethernetLen:])
				}
				answered = bytes.Equal(got[:n], want)
			}
			if !answered {
				t.Errorf("%s: no answer to %x", kind, d.frame())
			}
		}
	}
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: primary.AsSlice(), Port: teredo.Port})
	must(t, err)
	defer socket.Close()
	must(t, socket.SetReadDeadline(time.Now().Add(patience)))
	certain, _ := questions()
	d := w.frame(certain["nonce"])
	d.toMAC = [6]byte{2, 0, 0, 0, 0, 1}
	_, err = unix.Write(tap, d.frame())
	must(t, err)
	got := make([]byte, 2048)
	if n, err := socket.Read(got); err != nil || !bytes.Equal(got[:n], d.payload) {
		t.Errorf("the program gets %x, %v", got[:n], err)
	}
	must(t, w.kernel.Close())
	if a := linkOf(t, name).Attrs(); a.Xdp != nil && a.Xdp.Attached {
		t.Error("the rules are still in the driver")
	}
}

// TestServerPlaces finds the interfaces of the server's addresses, and the routes that lead there.
func TestServerPlaces(t *testing.T) {
	inNamespace(t)
	withoutIPv6(t)
	near, _ := newVeth(t, "near", "far")
	other, _ := newVeth(t, "other", "otherfar")
	addAddress(t, near, "192.0.2.1/24")
	addAddress(t, other, "198.51.100.1/24")
	k := openServer(t, ServerConfig{Bind: []netip.Addr{primary}, Public: []netip.Addr{primary}, Started: time.Now()})
	want := func(what string, routes map[string]serverRoute, places ...string) {
		t.Helper()
		if err := k.Refresh(); (err != nil) != (len(places) == 0) {
			t.Errorf("%s: %v", what, err)
		}
		if got := k.Interfaces(); len(got) != len(places) {
			t.Errorf("%s: at %v, want %v", what, got, places)
		}
		for _, name := range places {
			if k.Interfaces()[name] != "tcx" {
				t.Errorf("%s: not at %s", what, name)
			}
		}
		for prefix, r := range routes {
			var got serverRoute
			p := netip.MustParsePrefix(prefix)
			if err := k.maps.Routes.Lookup(serverPrefix{Bits: 32, Address: ipv4(p.Addr())}, &got); err != nil || got.Interface != r.Interface || got.Gateway != r.Gateway {
				t.Errorf("%s: %s leads to %+v, %v; want %+v", what, prefix, got, err, r)
			}
		}
	}
	index := uint32(near.Attrs().Index)
	want("without a default route", map[string]serverRoute{"192.0.2.9/32": {Interface: index}, "192.0.2.1/32": {}, "192.0.2.255/32": {}}, "near")
	gateway := netip.MustParseAddr("192.0.2.254")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: near.Attrs().Index, Gw: gateway.AsSlice()}))
	blackhole := ipNet(netip.MustParsePrefix("203.0.113.0/24"))
	must(t, netlink.RouteAdd(&netlink.Route{Dst: blackhole, Type: unix.RTN_BLACKHOLE}))
	want("with routes", map[string]serverRoute{
		"8.8.8.8/32": {Interface: index, Gateway: ipv4(gateway)}, "203.0.113.7/32": {}, "198.51.100.7/32": {Interface: uint32(other.Attrs().Index)},
	}, "near")
	must(t, netlink.AddrDel(near, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(primary, 24))}))
	addAddress(t, near, "192.0.2.9/24")
	must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: near.Attrs().Index, Gw: gateway.AsSlice()}))
	want("the address is missing", nil)
	addAddress(t, linkOf(t, "lo"), "192.0.2.1/32")
	want("an anycast address", nil, "near")
	addAddress(t, other, "192.0.2.1/32")
	want("the address has moved", nil, "other")
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.Src = 100, 77, ipNet(netip.MustParsePrefix("192.0.2.1/32"))
	must(t, netlink.RuleAdd(rule))
	if err := k.Refresh(); err == nil {
		t.Error("a routing rule goes unnoticed")
	}
	var got serverRoute
	if err := k.maps.Routes.Lookup(serverPrefix{Bits: 32, Address: ipv4(gateway)}, &got); err == nil {
		t.Error("routes are used beside routing rules")
	}
}
