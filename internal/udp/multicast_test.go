//go:build unix

package udp

import (
	"net/netip"
	"testing"
)

// C-LOC-02, C-LOC-03: a socket for the group gets what is sent to the group, and nothing that is sent to the host.
func TestListenMulticast(t *testing.T) {
	group := netip.MustParseAddrPort("224.0.0.253:3544")
	loopback := netip.MustParseAddr("127.0.0.1")
	var members []*Conn
	for range 2 { // several programs may listen
		c, err := ListenMulticast(group, loopback)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		members = append(members, c)
	}
	sender, err := Listen(netip.AddrPortFrom(loopback, 0), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	send := func(to netip.AddrPort, text string) {
		t.Helper()
		if _, err := sender.WriteBatch([]Message{{Buf: []byte(text), N: len(text), Remote: to}}); err != nil {
			t.Fatalf("send to %s: %v", to, err)
		}
	}
	send(netip.AddrPortFrom(loopback, group.Port()), "unicast")
	send(group, "multicast")
	for _, c := range members {
		m := make([]Message, 1)
		if n, err := c.ReadBatch(m); n != 1 || err != nil {
			t.Fatalf("read: %d %v", n, err)
		}
		if got := string(m[0].Buf[:m[0].N]); got != "multicast" || m[0].Remote != sender.LocalAddr() {
			t.Errorf("got %q from %s", got, m[0].Remote)
		}
	}
}

func TestListenMulticastNoInterface(t *testing.T) {
	if c, err := ListenMulticast(netip.MustParseAddrPort("224.0.0.253:3544"), netip.MustParseAddr("192.0.2.77")); err == nil {
		c.Close()
		t.Error("joined on an interface that is not there")
	}
}
