package teredo_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

func TestAddressVectors(t *testing.T) {
	for _, c := range []struct {
		name           string
		text           string
		server, mapped string
		flags          uint16
	}{
		{"RFC 6081 client A", "2001:0:cb00:7178:0:efff:3fff:fdfe", "203.0.113.120", "192.0.2.1:4096", 0},
		{"RFC 6081 client B", "2001:0:c633:6476:0:dfff:3fff:fdf5", "198.51.100.118", "192.0.2.10:8192", 0},
		{"Miredo client 1", "2001:0:c000:201:282a:2853:34ff:8efe", "192.0.2.1", "203.0.113.1:55212", 0x282a},
		{"cone bit", "2001:0:c000:201:8000:f227:34ff:8efe", "192.0.2.1", "203.0.113.1:3544", teredo.FlagCone},
		{"W-ADDR-04 every flag bit", "2001:0:c000:201:ffff:f227:34ff:8efe", "192.0.2.1", "203.0.113.1:3544", 0xffff},
		{"all zeros", "2001:0:0:0:0:ffff:ffff:ffff", "0.0.0.0", "0.0.0.0:0", 0},
		{"all ones", "2001:0:ffff:ffff:0:0:0:0", "255.255.255.255", "255.255.255.255:65535", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := netip.MustParseAddr(c.text)
			want := teredo.Address{
				Server: netip.MustParseAddr(c.server),
				Flags:  c.flags,
				Mapped: netip.MustParseAddrPort(c.mapped),
			}
			got, ok := teredo.ParseAddress(addr)
			if !ok || got != want {
				t.Errorf("ParseAddress(%s) = %+v, %v; want %+v", addr, got, ok, want)
			}
			if got := want.Addr(); got != addr {
				t.Errorf("Addr() = %s, want %s", got, addr)
			}
			if got := teredo.Mapped(addr); got != want.Mapped {
				t.Errorf("Mapped = %s, want %s", got, want.Mapped)
			}
			if got := teredo.ServerOf(addr); got != want.Server {
				t.Errorf("ServerOf = %s, want %s", got, want.Server)
			}
			if got := teredo.ConeBit(addr); got != (c.flags&teredo.FlagCone != 0) {
				t.Errorf("ConeBit = %v with flags %#04x", got, c.flags)
			}
		})
	}
}

func TestNotTeredo(t *testing.T) {
	for _, text := range []string{
		"2001:1::1", "2000:ffff:ffff::", "2001:db8::1", "2002:c000:201::1", "fe80::ffff:ffff:ffff", "ff02::2", "::", "32.1.0.0", "::ffff:32.1.0.0",
	} {
		addr := netip.MustParseAddr(text)
		if _, ok := teredo.ParseAddress(addr); ok || teredo.IsTeredo(addr) {
			t.Errorf("%s passes for a Teredo address", addr)
		}
		if m := teredo.Mapped(addr); m.IsValid() {
			t.Errorf("Mapped(%s) = %s", addr, m)
		}
		if s := teredo.ServerOf(addr); s.IsValid() {
			t.Errorf("ServerOf(%s) = %s", addr, s)
		}
	}
	if teredo.IsTeredo(netip.Addr{}) {
		t.Error("the zero Addr passes for a Teredo address")
	}
	if !teredo.IsTeredo(netip.MustParseAddr("2001::")) || !teredo.IsTeredo(netip.MustParseAddr("2001:0:ffff:ffff:ffff:ffff:ffff:ffff")) {
		t.Error("an end of 2001::/32 does not pass for a Teredo address")
	}
}

func TestZeroAddress(t *testing.T) {
	if got, want := (teredo.Address{}).Addr(), netip.MustParseAddr("2001::ffff:ffff:ffff"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// W-ADDR-01, W-ADDR-03, K-20: the random bits are bits 2-5 and 8-15; the cone bit, bit 1, U and G stay clear.
func TestRandomFlags(t *testing.T) {
	if teredo.FlagRandomMask != 0x3c00|0x00ff {
		t.Errorf("mask %#04x", teredo.FlagRandomMask)
	}
	addr := teredo.Address{Server: netip.MustParseAddr("192.0.2.1"), Flags: 0xffff & teredo.FlagRandomMask}.Addr()
	if b := addr.As16(); b[8] != 0x3c || b[9] != 0xff {
		t.Errorf("flags are %x", b[8:10])
	}
}

func TestLinkLocal(t *testing.T) {
	mapped := netip.MustParseAddrPort("192.168.1.2:55212")
	for _, c := range []struct {
		name string
		got  netip.Addr
		want string
	}{
		{"W-LL-01 client", teredo.ClientLinkLocal(false, mapped), "fe80::2853:3f57:fefd"},
		{"W-LL-01 cone client", teredo.ClientLinkLocal(true, mapped), "fe80::8000:2853:3f57:fefd"},
		{"W-LL-01 client that says nothing", teredo.ClientLinkLocal(false, netip.AddrPort{}), "fe80::ffff:ffff:ffff"},
		{"W-LL-01 cone client that says nothing", teredo.ClientLinkLocal(true, netip.AddrPort{}), "fe80::8000:ffff:ffff:ffff"},
		{"W-LL-02 server", teredo.ServerLinkLocal(netip.MustParseAddr("203.0.113.120")), "fe80::8000:f227:34ff:8e87"},
		{"W-LL-02 Miredo server", teredo.ServerLinkLocal(netip.MustParseAddr("192.0.2.1")), "fe80::8000:f227:3fff:fdfe"},
	} {
		if want := netip.MustParseAddr(c.want); c.got != want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, want)
		}
	}
	if teredo.ConeBit(teredo.ClientLinkLocal(false, mapped)) || !teredo.ConeBit(teredo.ClientLinkLocal(true, mapped)) {
		t.Error("the cone bit of a link-local address is not what was asked for")
	}
}
