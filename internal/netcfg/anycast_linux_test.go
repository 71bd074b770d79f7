package netcfg

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/teredo"
)

// ipOutput are the lines that an ip command prints.
func ipOutput(t *testing.T, args ...string) (lines []string) {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %v: %v\n%s", args, err, out)
	}
	for line := range strings.Lines(string(out)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

// R-RT-01: a relay announces whole prefixes under a protocol number of their own. While they are withdrawn, packets for clients still go to the
// relay: by no default route, nor by the route to another relay that a routing daemon has learnt.
func TestAnnounceRelay(t *testing.T) {
	inNamespace(t)
	other := newNative(t, "other", "2001:db8::2/64")
	addRoute(t, other, "::/0", 1024, "2001:db8::1")
	for _, prefix := range []string{"2001::/32", "2001:db8:c::/64"} {
		addRoute(t, other, prefix, 20, "2001:db8::1") // as FRR makes them; BIRD's have the metric 32
	}
	newTUN(t)
	native := netip.MustParsePrefix("2001:db8:c::/64")
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal), native))
	announced := []string{"2001::/32 metric 256 pref medium", "2001:db8:c::/64 metric 1 pref medium"}
	for _, change := range []struct {
		do   func(string, ...netip.Prefix) error
		want []string
	}{{WithdrawRelay, nil}, {AnnounceRelay, announced}, {AnnounceRelay, announced}, {WithdrawRelay, nil}} {
		must(t, change.do(tunName, native))
		if diff := cmp.Diff(change.want, ipOutput(t, "-6", "route", "show", "proto", "44", "dev", tunName)); diff != "" {
			t.Errorf("announced routes (-want +got):\n%s", diff)
		}
		for _, client := range []string{teredoHost, "2001:0:fe00::1", "2001:db8:c::1234", "2001:db8:c:0:ffff::1"} {
			if ifname, _ := wayTo(t, client); ifname != tunName {
				t.Errorf("a packet to %s leaves at %q", client, ifname)
			}
		}
	}
}

// Two relays on one host are found out while none of them is announced.
func TestWithdrawnRelayIsRival(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)))
	newNative(t, "second")
	if err := TryRelay("second"); err == nil || !strings.Contains(err.Error(), "owns "+tunName) {
		t.Errorf("error %v", err)
	}
}

// The host takes packets for the addresses of a server from before they are announced until after they are withdrawn, and a server that
// is not announced has none of them at an interface.
func TestAnnounceAddresses(t *testing.T) {
	inNamespace(t)
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}
	newTUN(t)
	must(t, KeepAddresses(tunName, addrs...))
	has := func(want string) {
		t.Helper()
		for _, a := range addrs {
			if ifname, err := HasAddress(a); err != nil || ifname != want {
				t.Errorf("%v is at %q, %v; want %q", a, ifname, err, want)
			}
			if got := ipOutput(t, "route", "get", a.String()); !strings.HasPrefix(got[0], "local ") {
				t.Errorf("packets for %v go this way: %q", a, got)
			}
		}
	}
	has("")
	disturb(t, "ip link add announced type veth peer name peer")
	must(t, AnnounceAddresses("announced", addrs...))
	must(t, AnnounceAddresses("announced", addrs...))
	has("announced")
	if got := ipOutput(t, "-6", "addr", "show", "dev", "announced"); len(got) > 0 {
		t.Errorf("the interface has IPv6: %q", got)
	}
	disturb(t, "ip link del announced")
	has("")
}
