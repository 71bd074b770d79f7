package netcfg

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

func TestForwarding(t *testing.T) {
	inNamespace(t)
	for _, want := range []bool{true, true, false, false, true} {
		must(t, SetForwarding(want))
		if got, err := Forwarding(); err != nil || got != want {
			t.Fatalf("forwarding %v %v, want %v", got, err, want)
		}
	}
	newNative(t, "native")
	if got := setting(t, "native", "forwarding"); got != "1" {
		t.Errorf("a new interface has forwarding %s, want 1", got)
	}
}

func TestIPv6TurnedOff(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	must(t, ClientUp(tunName, teredo.MTU))
	set(t, "all", "disable_ipv6", "1")

	_, forwardingErr := Forwarding()
	for name, err := range map[string]error{
		"ClientUp":      ClientUp(tunName, teredo.MTU),
		"RelayUp":       RelayUp(tunName, teredo.MTU, netip.MustParseAddr(relayLinkLocal)),
		"SetAddress":    SetAddress(tunName, netip.MustParseAddr(addr1)),
		"Forwarding":    forwardingErr,
		"SetForwarding": SetForwarding(true),
	} {
		if !errors.Is(err, ErrIPv6Off) || !strings.Contains(err.Error(), "sysctl -w net.ipv6.conf.all.disable_ipv6=0") {
			t.Errorf("%s: error %v does not say what to do", name, err)
		}
	}
	must(t, ClearAddress(tunName, netip.MustParseAddr(addr1)))

	set(t, "all", "disable_ipv6", "0")
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
}

func TestIPv6NotInKernel(t *testing.T) {
	if err := checkIPv6(t.TempDir()); !errors.Is(err, ErrIPv6Off) || !strings.Contains(err.Error(), "ipv6.disable=1") {
		t.Errorf("error %v does not say what to do", err)
	}
}

// Some hosts turn IPv6 off at every new interface: ours has it all the same.
func TestIPv6OffByDefault(t *testing.T) {
	inNamespace(t)
	set(t, "default", "disable_ipv6", "1")
	newTUN(t)
	if got := setting(t, tunName, "disable_ipv6"); got != "1" {
		t.Fatalf("disable_ipv6 of a new interface is %s, want 1", got)
	}
	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
	checkInterface(t, teredo.MTU, []string{addr1 + "/128", clientLinkLocal},
		[]string{"2001::/32 teredo " + addr1, "::/0 last " + addr1})
}

// Containers often have a read-only /proc/sys. That must not stop a client when the settings that matter are right.
func TestReadOnlySettings(t *testing.T) {
	unshare(t, unix.CLONE_NEWNS)
	inNamespace(t)
	newTUN(t)
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	must(t, unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""))
	must(t, unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))

	must(t, ClientUp(tunName, teredo.MTU))
	must(t, SetAddress(tunName, netip.MustParseAddr(addr1)))
	if ifname, source := wayTo(t, nativeHost); ifname != tunName || source != addr1 {
		t.Errorf("a packet to %s leaves at %q from %s", nativeHost, ifname, source)
	}

	must(t, SetForwarding(false)) // as it is
	err := SetForwarding(true)
	if !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), "writable /proc/sys") {
		t.Errorf("error %v does not say what to do", err)
	}
}
