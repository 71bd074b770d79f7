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

func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := range b {
		host := min(max(8*(i+1)-p.Bits(), 0), 8)
		b[i] |= byte(1<<host - 1)
	}
	return netip.AddrFrom4(b)
}
