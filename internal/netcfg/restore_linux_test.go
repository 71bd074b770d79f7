package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/teredo-suite/teredo/teredo"
)

// disturb runs an operator's command.
func disturb(t *testing.T, command string) {
	t.Helper()
	fields := strings.Fields(command)
	if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}

// wantRestored checks what was restored, and that the next look finds nothing.
func wantRestored(t *testing.T, restore func() ([]string, error), want ...string) {
	t.Helper()
	for _, want := range [][]string{want, nil} {
		lost, err := restore()
		must(t, err)
		if diff := cmp.Diff(want, lost); diff != "" {
			t.Errorf("restored (-want +got):\n%s", diff)
		}
	}
}

func TestRestoreClient(t *testing.T) {
	linkLocal, address, routes := "address fe80::ffff:ffff:ffff", "address "+addr1, []string{"route 2001::/32", "route ::/0"}
	all := append([]string{linkLocal, address}, routes...)
	for command, want := range map[string][]string{
		"ip link set %s down":                           append([]string{"the state up"}, all...),
		"ip -6 addr flush dev %s":                       all, // the routes have lost their source
		"ip -6 route flush dev %s":                      routes,
		"ip -6 addr del " + addr1 + "/128 dev %s":       append([]string{address}, routes...),
		"ip -6 route del default dev %s":                {"route ::/0"},
		"ip link set %s mtu 1200":                       all, // less than IPv6 allows
		"sysctl -qw net/ipv6/conf/%s/disable_ipv6=1":    all,
		"ip -6 addr add 2001:db8::1/128 dev %s":         nil, // somebody else's
		"ip -6 route add 2001:db8::/32 dev %s":          nil,
		"ip -6 route add default dev %s metric 100":     nil,
		"ip -6 addr del fe80::ffff:ffff:ffff/64 dev %s": {linkLocal},
	} {
		t.Run(command, func(t *testing.T) {
			inNamespace(t)
			newTUN(t)
			addr := netip.MustParseAddr(addr1)
			must(t, ClientUp(tunName, teredo.MTU))
			must(t, SetAddress(tunName, addr))
			disturb(t, fmt.Sprintf(command, tunName))
			wantRestored(t, func() ([]string, error) { return RestoreClient(tunName, addr) }, want...)
			for _, destination := range []string{nativeHost, teredoHost} {
				if ifname, source := wayTo(t, destination); ifname != tunName || source != addr1 {
					t.Errorf("a packet to %s leaves at %q from %s", destination, ifname, source)
				}
			}
		})
	}
}

// A client without an address is given no routes. An MTU that somebody has chosen stays, if IPv6 allows it.
func TestRestoreClientWithoutAddress(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))
	disturb(t, "ip link set "+tunName+" mtu 1400")
	restore := func() ([]string, error) { return RestoreClient(tunName, netip.Addr{}) }
	wantRestored(t, restore)
	disturb(t, "ip link set "+tunName+" down")
	wantRestored(t, restore, "the state up", "address fe80::ffff:ffff:ffff")
	checkInterface(t, 1400, []string{clientLinkLocal}, nil)
}

func TestRestoreRelay(t *testing.T) {
	linkLocal, prefixes := "address "+relayLinkLocal, []string{"2001::/33", "2001:0:8000::/33", "2001:db8:c::/65", "2001:db8:c:0:8000::/65"}
	announced := []string{"2001::/32 teredo", "2001:db8:c::/64"}
	for name, test := range map[string]struct {
		command   string
		announced bool
		want      []string
	}{
		"down":                    {"ip link set %s down", false, append([]string{"the state up", linkLocal}, routesTo(prefixes...)...)},
		"down, while announced":   {"ip link set %s down", true, append([]string{"the state up", linkLocal}, routesTo(append(prefixes, "2001::/32", "2001:db8:c::/64")...)...)},
		"addresses":               {"ip -6 addr flush dev %s", false, []string{linkLocal}},
		"routes":                  {"ip -6 route flush dev %s", false, routesTo(prefixes...)},
		"announced routes":        {"ip -6 route flush proto 44 dev %s", true, routesTo("2001::/32", "2001:db8:c::/64")},
		"another announced route": {"ip -6 route replace 2001::/32 metric 256 proto 4 dev %s", true, routesTo("2001::/32")},
	} {
		t.Run(name, func(t *testing.T) {
			inNamespace(t)
			newTUN(t)
			own, native := netip.MustParseAddr(relayLinkLocal), netip.MustParsePrefix("2001:db8:c::/64")
			must(t, RelayUp(tunName, teredo.MTU, own, native))
			has := slices.Concat(carried, carriedNative)
			if test.announced {
				must(t, AnnounceRelay(tunName, native))
				has = append(has, announced...)
			}
			slices.Sort(has)
			disturb(t, fmt.Sprintf(test.command, tunName))
			wantRestored(t, func() ([]string, error) { return RestoreRelay(tunName, own, test.announced, native) }, test.want...)
			checkInterface(t, teredo.MTU, []string{relayLinkLocal + "/64"}, has)
		})
	}
}

// routesTo are routes as they are told when they are lost.
func routesTo(prefixes ...string) (routes []string) {
	for _, p := range prefixes {
		routes = append(routes, "route "+p)
	}
	return routes
}

// What cannot be restored is told with the reason; what is gone has lost nothing.
func TestRestoreInVain(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	addr := netip.MustParseAddr(addr1)
	must(t, ClientUp(tunName, teredo.MTU))
	disturb(t, "sysctl -qw net/ipv6/conf/all/disable_ipv6=1")
	if lost, err := RestoreClient(tunName, addr); !errors.Is(err, ErrIPv6Off) || len(lost) == 0 {
		t.Errorf("%v, %v", lost, err)
	}
	link, err := netlink.LinkByName(tunName)
	must(t, err)
	must(t, netlink.LinkDel(link))
	wantRestored(t, func() ([]string, error) { return RestoreClient(tunName, addr) })
	if _, err := netlink.LinkByName(tunName); !errors.As(err, &netlink.LinkNotFoundError{}) {
		t.Error(err)
	}
}
