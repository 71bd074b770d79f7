//go:build linux

package integration

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// noticeTimeout is for changes that the kernel tells the client of. It is shorter than the client would need to find out
// by a refresh.
const noticeTimeout = 15 * time.Second

// TestLocalAddressChange gives the client's host another address of its LAN in place of its own, as DHCP may.
func TestLocalAddressChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	old := w.startOurs()
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))

	const local = "192.168.1.99"
	w.run("client1", "ip", "address", "delete", client1Addr+"/24", "dev", "uplink")
	w.run("client1", "ip", "address", "add", local+"/24", "dev", "uplink")
	w.run("client1", "ip", "route", "add", "default", "via", lanGateway)
	// The NAT sees another host, whose port is the same as that of a flow it knows.
	w.wantMoved(noticeTimeout, old, local, lab.NAT1Addr)
}

// TestMovedDefaultRoute moves the default route of the client's host to another interface, behind another NAT.
func TestMovedDefaultRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	old := w.startOurs()
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))

	const gateway, local = "192.168.3.1", "192.168.3.2"
	if err := w.AddLink("nat2", "client1", "second", gateway+"/24", local+"/24"); err != nil {
		t.Fatal(err)
	}
	w.run("client1", "ip", "route", "replace", "default", "via", gateway)
	w.wantMoved(noticeTimeout, old, local, lab.NAT2Addr)
}

// wantMoved waits until client1 is qualified at a local address, behind a NAT with the mapped one, and checks that it has
// a Teredo address in place of the old one that works.
func (w *world) wantMoved(timeout time.Duration, old netip.Addr, local, mapped string) {
	w.t.Helper()
	s := w.untilStatus(timeout, "client1", "qualified at "+local+", as "+mapped, func(s clientStatus) bool {
		return s.State == "qualified" && strings.HasPrefix(s.Local, local+":") && strings.HasPrefix(s.Mapped, mapped+":")
	})
	addr, _ := w.teredoAddr("client1")
	if addr == old || addr.String() != s.Address {
		w.t.Errorf("address %v on the interface, was %v; %q in the status", addr, old, s.Address)
	}
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
	w.ping("native", addr)
}
