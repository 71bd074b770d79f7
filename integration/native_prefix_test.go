//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	nativePrefix    = "2001:db8:c::/64" // routed to the relay; nobody has a route to 2001::/32
	nativeTransfer  = 8 << 20           // bytes of one direction
	nativeLarge     = 100 << 20         // where the kernel carries them
	relayNative     = "2001:db8:2::1"
	routerOfRelay   = "2001:db8:2::ff"
	routerOfNative  = "2001:db8:6::ff"
	secondRelay     = "relay2"
	secondRelayAddr = "198.51.101.1"
)

// newNativeWorld lays out a lab in which the native internet leads to clients by their native addresses only.
func newNativeWorld(t *testing.T, nat1, nat2 lab.NAT) *world {
	t.Helper()
	w := newWorldBehind(t, nat1, nat2)
	w.record()
	w.run("inet", "ip", "-6", "route", "delete", "2001::/32")
	w.run("inet", "ip", "-6", "route", "add", nativePrefix, "via", relayNative)
	return w
}

// nativeOf is the native address of a client.
func (w *world) nativeOf(client netip.Addr) netip.Addr {
	w.t.Helper()
	prefix, err := teredo.NewNativePrefix(netip.MustParseAddr(lab.ServerAddr), netip.MustParsePrefix(nativePrefix))
	if err != nil {
		w.t.Fatal(err)
	}
	native, ok := teredo.NativePrefixes{prefix}.Native(client)
	if !ok {
		w.t.Fatalf("%v has no native address", client)
	}
	return native
}

// startNative starts a server and a relay of ours that give clients native addresses.
func (w *world) startNative(flags ...string) *lab.Process {
	w.t.Helper()
	server := w.start("server", w.serverCommand("--native-prefix", nativePrefix)...)
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("server", teredo.Port) })
	return w.startRelay(ours, append(flags, "--native-prefix", lab.ServerAddr+"="+nativePrefix)...)
}

// TestNativePrefix has clients of ours and of Miredo, behind all the NATs that they can serve, reach a native host and each other at
// native addresses, and be reached there, without any route to 2001::/32 (S-FWD-03, R-TX-01, R-RT-01).
func TestNativePrefix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		nat1, nat2 lab.NAT
		client2    implementation // client1 is ours
		kernel     string
	}{
		{lab.PortRestricted, lab.PortRestricted, miredo, "auto"},
		{lab.FullCone, lab.FullCone, miredo, "off"},
		{lab.Symmetric, lab.Symmetric, ours, "auto"}, // Miredo's client serves no symmetric NAT
		{lab.Symmetric, lab.PortRestricted, miredo, "off"},
	} {
		t.Run(fmt.Sprintf("%s, %s's %s, kernel path %s", tt.nat1, tt.client2, tt.nat2, tt.kernel), func(t *testing.T) {
			t.Parallel()
			w := newNativeWorld(t, tt.nat1, tt.nat2)
			w.startNative("--kernel-path=" + tt.kernel)
			_, addr1 := w.startClient("client1", ours, "--kernel-path="+tt.kernel)
			_, addr2 := w.startClient("client2", tt.client2)
			host := netip.MustParseAddr(lab.NativeAddr)
			native1, native2 := w.nativeOf(addr1), w.nativeOf(addr2)
			w.untilStatus(startTimeout, "client1", "the client to know its native address",
				func(s clientStatus) bool { return s.Native == native1.String() })
			w.ping("client1", host)
			w.ping("native", native2) // the relay does not know it yet
			w.ping("client2", native1)
			w.ping("client1", native2)
			w.ping("native", native1)
			w.ping("client2", host)
			for _, client := range []struct {
				name        string
				own, native netip.Addr
			}{{"client1", addr1, native1}, {"client2", addr2, native2}} {
				w.transferTo("native", client.name, client.native, client.own, nativeTransfer)
				w.transfer(client.name, "native", host, nativeTransfer)
			}
			w.transferTo("client1", "client2", native2, addr2, nativeTransfer)
			w.transferTo("client2", "client1", native1, addr1, nativeTransfer)
		})
	}
}

// TestNativePrefixKernelPath stops the programs once a flow is confirmed: what arrives then has been translated by the kernel.
func TestNativePrefixKernelPath(t *testing.T) {
	t.Parallel()
	w := newNativeWorld(t, lab.PortRestricted, lab.PortRestricted)
	relay := w.startNative()
	client, addr := w.startClient("client1", ours)
	host, ends := netip.MustParseAddr(lab.NativeAddr), programs{"client1": client, "relay": relay}
	w.carried("client1", host, ends, func() error {
		return errors.Join(w.tryTransfer("client1", "native", host, host, nativeLarge),
			w.tryTransfer("native", "client1", w.nativeOf(addr), addr, nativeLarge))
	})
}

// TestNativePrefixOneHost has server and relay run on one host, at one IPv4 address: then the relay need not be told the server.
// It serves their host, too, as it is told to.
func TestNativePrefixOneHost(t *testing.T) {
	t.Parallel()
	w := newNativeWorld(t, lab.PortRestricted, lab.Symmetric)
	w.run("inet", "ip", "-6", "route", "replace", nativePrefix, "via", "2001:db8:1::1")
	server := w.start("server", w.serverCommand("--native-prefix", nativePrefix)...)
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("server", teredo.Port) })
	relay := w.start("server", program("relay"), "run", "--bind", lab.ServerAddr, "--tun", tun, "--permit-ipv4", lab.PublicRanges,
		"--control", w.control("relay"), "--forwarding", "--native-prefix", nativePrefix, "--serve", "2001:db8::/32")
	w.until(relay, startTimeout, "the relay to listen", func() error { return w.listens("server", relayPort) })
	_, addr1 := w.startClient("client1", ours)
	_, addr2 := w.startClient("client2", ours)
	native1, native2 := w.nativeOf(addr1), w.nativeOf(addr2)
	host := netip.MustParseAddr(lab.NativeAddr)
	w.ping("native", native1)
	w.ping("client2", native1)
	w.ping("client1", native2)
	w.ping("server", native2)
	w.transferTo("native", "client1", native1, addr1, nativeTransfer)
	w.transfer("client2", "native", host, nativeTransfer)
	w.transferTo("client1", "client2", native2, addr2, nativeTransfer)
}

// TestNativePrefixErrors traces the route in both directions and between clients, and has packets cross that are larger than a
// link on the way takes: ICMPv6 errors and fragments have to arrive.
func TestNativePrefixErrors(t *testing.T) {
	t.Parallel()
	w := newNativeWorld(t, lab.PortRestricted, lab.PortRestricted)
	w.startNative()
	_, addr1 := w.startClient("client1", ours)
	_, addr2 := w.startClient("client2", miredo)
	native1, native2 := w.nativeOf(addr1).String(), w.nativeOf(addr2).String()
	for from, to := range map[string]string{"client1": lab.NativeAddr, "client2": native1, "native": native2} {
		w.ping(from, netip.MustParseAddr(to))
	}
	for _, tt := range []struct {
		from, to string
		hops     []string
	}{
		{"client1", lab.NativeAddr, []string{relayNative, routerOfRelay, lab.NativeAddr}},
		{"client2", lab.NativeAddr, []string{relayNative, routerOfRelay, lab.NativeAddr}},
		{"native", native1, []string{routerOfNative, relayNative, native1}},
		{"client1", native2, []string{relayNative, native2}},
		{"client2", native1, []string{relayNative, native1}},
	} {
		for i, want := range tt.hops {
			// The first error of a router that a client does not know waits for a test of the way to the router.
			w.answers(want, tt.from, "-t", fmt.Sprint(i+1), tt.to)
		}
	}

	w.run("inet", "ip", "link", "set", "native", "mtu", "1280")
	w.run("native", "ip", "link", "set", "uplink", "mtu", "1280")
	const size = "1800"
	w.answers(native1, "native", "-s", size, native1)
	w.answers(lab.NativeAddr, "client1", "-s", size, lab.NativeAddr)
	w.answers(native2, "client1", "-s", size, native2)
	w.run("native", "ip", "link", "set", "uplink", "mtu", "1500")
	w.run("inet", "ip", "link", "set", "native", "mtu", "1500")
	w.answers(native2, "native", "-s", "1400", native2) // larger than the tunnel, smaller than the link
}

// answers pings until a host answers or, by an ICMPv6 error, says something.
func (w *world) answers(want, from string, args ...string) {
	w.t.Helper()
	argv := append([]string{"ping", "-6", "-n", "-c", "1", "-W", "2"}, args...)
	if err := lab.Until(pingTimeout, fmt.Sprintf("%s to answer %v of %s", want, argv, from), func() error {
		out, err := w.Host(from).Run(startTimeout, argv...)
		if says := strings.ToLower(fmt.Sprint(out, err)); !strings.Contains(says, " from "+want) && !strings.Contains(says, "\nfrom "+want+" ") {
			return fmt.Errorf("output %s: %w", out, err)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// TestTwoNativeRelays has two relays that know nothing of each other serve the same clients. One serves a native host, the other
// one another native host, the packets between clients, and the tests of their server.
func TestTwoNativeRelays(t *testing.T) {
	t.Parallel()
	w := newNativeWorld(t, lab.PortRestricted, lab.PortRestricted)
	w.startNative()
	for name, addrs := range map[string][2]string{
		secondRelay: {"198.51.101.254/24 2001:db8:3::ff/64", secondRelayAddr + "/24 2001:db8:3::1/64"},
		"native2":   {"2001:db8:7::ff/64", "2001:db8:7::1/64"},
	} {
		if _, err := w.AddHost("inet", name, addrs[0], addrs[1]); err != nil {
			t.Fatal(err)
		}
	}
	second := w.start(secondRelay, program("relay"), "run", "--bind", secondRelayAddr, "--tun", tun, "--permit-ipv4", lab.PublicRanges+",198.51.101.0/24",
		"--control", w.control(secondRelay), "--forwarding", "--native-prefix", lab.ServerAddr+"="+nativePrefix)
	w.until(second, startTimeout, "the second relay to listen", func() error { return w.listens(secondRelay, relayPort) })
	w.run("inet", "ip", "-6", "route", "add", nativePrefix, "via", "2001:db8:3::1", "table", "2")
	for _, from := range []string{"server", "native2"} {
		w.run("inet", "ip", "-6", "rule", "add", "iif", from, "lookup", "2")
	}
	_, addr1 := w.startClient("client1", ours, "--permit-ipv4", "198.51.101.0/24")
	_, addr2 := w.startClient("client2", ours, "--permit-ipv4", "198.51.101.0/24")
	native1, native2 := w.nativeOf(addr1), w.nativeOf(addr2)
	for range 2 {
		for host, addr := range map[string]string{"native": lab.NativeAddr, "native2": "2001:db8:7::1"} {
			w.ping("client1", netip.MustParseAddr(addr))
			w.ping(host, native2)
			w.transferTo(host, "client1", native1, addr1, nativeTransfer)
			w.transfer("client1", host, netip.MustParseAddr(addr), nativeTransfer)
		}
		w.transferTo("client1", "client2", native2, addr2, nativeTransfer)
		w.transferTo("client2", "client1", native1, addr1, nativeTransfer)
	}
	for _, relay := range []string{"relay", secondRelay} {
		if s := w.kernelStatus(relay); s.Sent < 1000 {
			t.Errorf("%s has sent %d packets", relay, s.Sent)
		}
	}
}
