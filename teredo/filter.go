package teredo

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Filter decides where packets may go. Test every IPv4 address from a packet with Global before sending to it, and every native
// IPv6 address with Native. The zero value is the strictest test.
type Filter struct {
	// Permit allows addresses of special-use ranges (RFC 6890), IPv4 and IPv6, that these prefixes contain. It is for labs and
	// private deployments.
	Permit []netip.Prefix

	// Broadcasts are the directed-broadcast addresses of the attached subnets. Permit does not allow them.
	Broadcasts []netip.Addr
}

// Global is the global unicast test of RFC 4380 §5.2.4 for IPv4 addresses.
func (f *Filter) Global(ip netip.Addr) bool {
	return ip.Is4() && f.allows(ip, useOfIPv4(ip.As4())) && !slices.Contains(f.Broadcasts, ip)
}

// Native reports whether ip may be the address of a native IPv6 host: a global unicast address that is not a Teredo address, and
// embeds no IPv4 address that an automatic tunnel or a translator would send to, as that can cause routing loops (RFC 6169
// §6.1.3). Where Permit allows embedded addresses, they still must be global.
func (f *Filter) Native(ip netip.Addr) bool {
	if !ip.Is6() {
		return false
	}
	a := ip.As16()
	use := useOfIPv6(a)
	if !f.allows(ip, use) {
		return false
	}
	v4, ok := embeddedIPv4(a)
	return use == global || !ok || useOfIPv4(v4) == global
}

// Reachable reports whether programs may connect to ip through Teredo: the address of a native host, or of a client whose server and
// whose mapped address are both global.
func (f *Filter) Reachable(ip netip.Addr) bool {
	if a, ok := ParseAddress(ip); ok {
		return a.Mapped.Port() != 0 && f.Global(a.Server) && f.Global(a.Mapped.Addr())
	}
	return f.Native(ip)
}

func (f *Filter) allows(ip netip.Addr, u use) bool {
	return u == global || u == special && slices.ContainsFunc(f.Permit, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// use is what an address is for. The functions below are the table of all addresses that are not destinations on the Internet.
type use uint8

const (
	global  use = iota
	special     // for private networks, documentation or a mechanism: allowed only by Permit
	never       // not unicast, of this host or this link only, or of a Teredo client
)

// useOfIPv4 has the ranges of RFC 4380 §5.2.4, and those that RFC 6890 and RFC 6598 have reserved since.
func useOfIPv4(a [4]byte) use {
	switch n := binary.BigEndian.Uint32(a[:]); {
	case n == 0, n == 0xffffffff, n>>28 == 0xe: // unspecified, limited broadcast, 224.0.0.0/4 multicast
		return never
	case
		n>>24 == 0,              // 0.0.0.0/8, this network
		n>>24 == 10,             // 10.0.0.0/8, private
		n>>24 == 127,            // 127.0.0.0/8, loopback
		n>>22 == 0x64400000>>22, // 100.64.0.0/10, shared by carriers
		n>>16 == 0xa9fe,         // 169.254.0.0/16, link-local
		n>>20 == 0xac1,          // 172.16.0.0/12, private
		n>>8 == 0xc00000,        // 192.0.0.0/24, protocols
		n>>8 == 0xc00002,        // 192.0.2.0/24, documentation
		n>>8 == 0xc05863,        // 192.88.99.0/24, 6to4
		n>>16 == 0xc0a8,         // 192.168.0.0/16, private
		n>>17 == 0xc6120000>>17, // 198.18.0.0/15, benchmarks
		n>>8 == 0xc63364,        // 198.51.100.0/24, documentation
		n>>8 == 0xcb0071,        // 203.0.113.0/24, documentation
		n>>28 == 0xf:            // 240.0.0.0/4, reserved
		return special
	}
	return global
}

// useOfIPv6 has the ranges that RFC 6890 and its IANA registry do not call globally reachable, and all that embed an IPv4 address.
// The documentation ranges, 2001:db8::/32 and 3fff::/20, count as global: nobody on the Internet has them, and labs use them.
func useOfIPv6(a [16]byte) use {
	switch n := binary.BigEndian.Uint64(a[:]); {
	case n>>32 == 0x0064ff9b: // 64:ff9b::/96 and 64:ff9b:1::/48, NAT64 (RFC 6052, RFC 8215)
		return special
	case
		n>>56 == 0,          // ::/8: unspecified, loopback, IPv4-mapped, IPv4-compatible (RFC 4291 §2.5)
		n>>54 == 0xfe80>>6,  // fe80::/10, link-local
		n>>56 == 0xff,       // ff00::/8, multicast
		n>>32 == 0x20010000: // 2001::/32, Teredo: a client is no native host
		return never
	case
		n>>61 != 0b001,         // outside 2000::/3: unique local fc00::/7, discard-only 100::/64, and ranges that are not allocated
		n>>41 == 0x20010000>>9, // 2001::/23, protocols: benchmarks, ORCHID and others
		n>>48 == 0x2002,        // 2002::/16, 6to4
		isISATAP(a):
		return special
	}
	return global
}

// embeddedIPv4 returns the IPv4 address to which a tunnel router or translator sends packets for an IPv6 address.
func embeddedIPv4(a [16]byte) ([4]byte, bool) {
	switch {
	case a[0] == 0x20 && a[1] == 0x02: // 6to4 (RFC 3056 §2)
		return [4]byte(a[2:]), true
	case isISATAP(a), [12]byte(a[:]) == [12]byte{0, 0x64, 0xff, 0x9b}: // NAT64 (RFC 6052 §2.2)
		return [4]byte(a[12:]), true
	}
	return [4]byte{}, false
}

// isISATAP reports whether the interface identifier holds an IPv4 address as RFC 5214 §6.1 lays it out.
func isISATAP(a [16]byte) bool {
	return a[8]&^0x02 == 0 && a[9] == 0 && a[10] == 0x5e && a[11] == 0xfe
}
