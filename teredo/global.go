package teredo

import (
	"net/netip"
	"slices"
)

// Filter is the global unicast test of RFC 4380 §5.2.4, to which every IPv4 address that comes out of a
// packet is put before anything is sent to it. The zero value is the strict test.
type Filter struct {
	// Permit lifts the special-use ranges where it covers them: for labs and private deployments (SEC-V4-02).
	Permit []netip.Prefix

	// Broadcasts are the directed-broadcast addresses of the attached subnets. Permit does not lift them.
	Broadcasts []netip.Addr
}

// Global reports whether ip is a global unicast IPv4 address. Permit never lifts multicast, 0.0.0.0,
// 255.255.255.255, nor Broadcasts.
func (f *Filter) Global(ip netip.Addr) bool {
	if !ip.Is4() || ip.IsMulticast() || ip.IsUnspecified() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return false
	}
	if slices.Contains(f.Broadcasts, ip) {
		return false
	}
	return !specialUse(ip.As4()) || f.permits(ip)
}

func (f *Filter) permits(ip netip.Addr) bool {
	for _, p := range f.Permit {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// specialUse reports whether the address is in a range of RFC 4380 §5.2.4 (SEC-V4-01), or in one that
// RFC 6890 and RFC 6598 reserved since (SEC-V4-02). Multicast is dealt with before.
func specialUse(a [4]byte) bool {
	switch a[0] {
	case 0, 10, 127: // this network, private, loopback
		return true
	case 100: // 100.64.0.0/10, shared by carriers
		return a[1]&0xC0 == 64
	case 169: // 169.254.0.0/16, link-local
		return a[1] == 254
	case 172: // 172.16.0.0/12, private
		return a[1]&0xF0 == 16
	case 192: // 192.168.0.0/16 private, 192.0.0.0/24 protocols, 192.0.2.0/24 documentation, 192.88.99.0/24 6to4
		return a[1] == 168 || a[1] == 0 && (a[2] == 0 || a[2] == 2) || a[1] == 88 && a[2] == 99
	case 198: // 198.18.0.0/15 benchmarks, 198.51.100.0/24 documentation
		return a[1]&0xFE == 18 || a[1] == 51 && a[2] == 100
	case 203: // 203.0.113.0/24, documentation
		return a[1] == 0 && a[2] == 113
	}
	return a[0] >= 240 // 240.0.0.0/4, reserved
}
