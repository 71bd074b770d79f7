package teredo_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// specialRanges are those of SEC-V4-01 and SEC-V4-02, but for multicast.
var specialRanges = []string{
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
}

// The first and last address of each range fail, and their neighbors outside pass.
func TestGlobalRangeBoundaries(t *testing.T) {
	var strict teredo.Filter
	special := append([]string{"224.0.0.0/4"}, specialRanges...)
	inSpecial := func(a netip.Addr) bool {
		for _, s := range special {
			if netip.MustParsePrefix(s).Contains(a) {
				return true
			}
		}
		return false
	}
	for _, s := range special {
		p := netip.MustParsePrefix(s)
		first, last := p.Addr(), lastAddr(p)
		for _, a := range []netip.Addr{first, last} {
			if strict.Global(a) {
				t.Errorf("%s: %s passes", p, a)
			}
		}
		for _, a := range []netip.Addr{first.Prev(), last.Next()} {
			if a.IsValid() && !inSpecial(a) && !strict.Global(a) {
				t.Errorf("%s: its neighbor %s fails", p, a)
			}
		}
	}
}

func TestGlobalPasses(t *testing.T) {
	var strict teredo.Filter
	for _, text := range []string{
		"1.0.0.0", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.1.255", "192.0.3.0", "192.1.0.0",
		"192.1.2.1", "192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0",
		"198.51.99.255", "198.51.101.0", "203.0.112.255", "203.0.114.0", "203.1.113.0", "223.255.255.255",
	} {
		if !strict.Global(netip.MustParseAddr(text)) {
			t.Errorf("%s fails", text)
		}
	}
}

// Neither IPv6 in any form nor the zero Addr is an IPv4 address.
func TestGlobalOtherFamilies(t *testing.T) {
	everything := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("::ffff:8.8.8.8")} {
		if everything.Global(a) {
			t.Errorf("%v passes", a)
		}
	}
}

func TestGlobalPermit(t *testing.T) {
	everything := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}
	for _, s := range specialRanges {
		if a := netip.MustParsePrefix(s).Addr().Next(); !everything.Global(a) {
			t.Errorf("%s fails although permitted", a)
		}
	}
	for _, text := range []string{"0.0.0.0", "255.255.255.255", "224.0.0.0", "224.0.0.253", "239.255.255.255"} {
		if everything.Global(netip.MustParseAddr(text)) {
			t.Errorf("%s passes: a permit lifted it", text)
		}
	}
	lab := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.1.0.0/16")}}
	for text, want := range map[string]bool{
		"192.0.2.0": true, "192.0.2.255": true, "10.1.2.3": true, "10.2.0.0": false, "192.168.0.1": false, "8.8.8.8": true,
	} {
		if got := lab.Global(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s with permits %v: got %v", text, lab.Permit, got)
		}
	}
}

// The directed-broadcast addresses of the attached subnets fail, permitted or not.
func TestGlobalBroadcasts(t *testing.T) {
	f := teredo.Filter{
		Permit:     []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Broadcasts: []netip.Addr{netip.MustParseAddr("192.0.2.255"), netip.MustParseAddr("8.8.8.127")},
	}
	for text, want := range map[string]bool{"192.0.2.255": false, "8.8.8.127": false, "192.0.2.254": true, "8.8.8.126": true} {
		if got := f.Global(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// nativeRanges are those of IPv6 that are no destination, with an address that a permit of the range makes one, if it does.
var nativeRanges = []struct{ prefix, permitted string }{
	{"::/8", ""}, {"::1/128", ""}, {"::ffff:0:0/96", ""}, // this host, IPv4-mapped and others
	{"64:ff9b::/96", "64:ff9b::8.8.8.8"}, // NAT64
	{"64:ff9b:1::/48", "64:ff9b:1::10.0.0.1"},
	{"100::/64", "100::1"}, // discard-only
	{"400::/6", "400::1"},  // not allocated, like all the following beyond 2000::/3
	{"2001::/32", ""},      // Teredo
	{"2001:1::/32", "2001:1::1"},
	{"2001:2::/48", "2001:2::1"},     // benchmarks
	{"2001:10::/28", "2001:10::1"},   // ORCHID
	{"2001:20::/28", "2001:20::1"},   // ORCHIDv2
	{"2001::/23", "2001:1ff::1"},     // protocols
	{"2002::/16", "2002:808:808::1"}, // 6to4
	{"4000::/2", "4000::1"},
	{"5f00::/16", "5f00::1"}, // segment routing
	{"8000::/2", "8000::1"},
	{"c000::/3", "c000::1"},
	{"fc00::/7", "fd00::1"}, // unique local
	{"fe80::/10", ""},
	{"fec0::/10", "fec0::1"}, // site-local
	{"ff00::/8", ""},
}

// SEC-LOOP, S-FWD-02: what is not global IPv6 unicast, or holds an IPv4 address, is no native destination unless permitted.
func TestNative(t *testing.T) {
	var strict teredo.Filter
	everything := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("::/0"), netip.MustParsePrefix("0.0.0.0/0")}}
	for _, r := range nativeRanges {
		p := netip.MustParsePrefix(r.prefix)
		only := teredo.Filter{Permit: []netip.Prefix{p}}
		for _, a := range []netip.Addr{p.Addr(), p.Addr().Next(), lastAddr(p)} {
			if strict.Native(a) {
				t.Errorf("%s: %s passes", p, a)
			}
			if r.permitted == "" && everything.Native(a) && p.Bits() > 8 {
				t.Errorf("%s: %s passes: a permit lifted it", p, a)
			}
		}
		if r.permitted == "" {
			continue
		}
		if a := netip.MustParseAddr(r.permitted); strict.Native(a) || !only.Native(a) || !everything.Native(a) {
			t.Errorf("%s: %s is wrong with, or without, a permit", p, a)
		}
	}
	for _, text := range []string{ // hold an IPv4 address that is not global: no permit lifts that
		"2002:a00:1::1", "2002:7f00:1::1", "2002:e000:1::1", "64:ff9b::192.168.1.1", "2001:db8::5efe:10.0.0.1", "fd00::200:5efe:127.0.0.1",
	} {
		if a := netip.MustParseAddr(text); strict.Native(a) || everything.Native(a) {
			t.Errorf("%s passes", a)
		}
	}
	if a := netip.MustParseAddr("2001:db8::200:5efe:8.8.8.8"); strict.Native(a) || !everything.Native(a) {
		t.Errorf("ISATAP address %s is wrong with, or without, a permit", a)
	}
	for _, text := range []string{
		"2000::", "2000::1", "2001:200::", "2001:4860:4860::8888", "2001:db8::1", "2001:ffff::1", "2003::", "2a00::1", "3fff::1",
		"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::5eff:8.8.8.8", "2001:db8::100:5efe:808:808",
	} {
		if !strict.Native(netip.MustParseAddr(text)) {
			t.Errorf("%s fails", text)
		}
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("::ffff:8.8.8.8")} {
		if everything.Native(a) {
			t.Errorf("%v passes", a)
		}
	}
}

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		host := min(max(8*(i+1)-p.Bits(), 0), 8)
		b[i] |= byte(1<<host - 1)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// Programs connect to native hosts, and to clients with both IPv4 addresses global.
func TestReachable(t *testing.T) {
	strict := teredo.Filter{}
	for _, test := range []struct {
		address string
		want    bool
	}{
		{"2001:db8::1", true},                      // native
		{"2001:0:808:808:0:f227:f7f7:f7f7", true},  // a client at 8.8.8.8
		{"2001:0:808:808:0:ffff:f7f7:f7f7", false}, // its port is 0
		{"2001:0:a00:1:0:f227:f7f7:f7f7", false},   // its server is 10.0.0.1
		{"2001:0:808:808:0:f227:80ff:fffe", false}, // it is at 127.0.0.1
		{"2001:0:808:808:0:f227:f5ff:fffe", false}, // it is at 10.0.0.1
		{"::1", false}, {"::ffff:8.8.8.8", false}, {"fe80::1", false}, {"fd00::1", false}, {"64:ff9b::808:808", false},
		{"2002:808:808::1", false}, {"8.8.8.8", false},
	} {
		if got := strict.Reachable(netip.MustParseAddr(test.address)); got != test.want {
			t.Errorf("%s: %t", test.address, got)
		}
	}
}
