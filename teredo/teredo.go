// Package teredo is the wire format of Teredo: addresses, encapsulations, bubbles, router solicitations and
// advertisements, echo messages and trailers. It also has the test of the addresses that packets may be sent to.
//
// It follows RFC 4380 as updated by RFC 5991 (flags) and RFC 6081 (trailers). It does no I/O, reads no
// clock, and allocates nothing when parsing: what it returns aliases the input. Append functions add to
// the buffer that they are given and allocate only when its capacity is used up.
//
// IPv4 addresses are 4-byte netip.Addr values throughout, never IPv4-mapped IPv6 ones. All sizes are in bytes.
// IDs such as A-01 in comments are explained in docs/conformance.md.
package teredo

import "net/netip"

const (
	// Port is the UDP port of Teredo servers and of local discovery (RFC 4380 §2.7).
	Port = 3544

	// MTU is the link MTU of Teredo interfaces (RFC 4380 §5.1.2).
	MTU = 1280

	// MaxTrailers is the room that one of each trailer of RFC 6081 §4 can need:
	// nonce 6, alternate addresses 28, neighbor discovery 6, random port 4.
	MaxTrailers = 6 + 28 + 6 + 4
)

// Prefix returns the Teredo service prefix, 2001::/32 (RFC 4380 §2.6).
func Prefix() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 0x01}), 32)
}

// DiscoveryAddr returns the IPv4 multicast address of local discovery, 224.0.0.253 (RFC 4380 §2.17).
func DiscoveryAddr() netip.Addr { return netip.AddrFrom4([4]byte{224, 0, 0, 253}) }

// AllNodes returns the link-local all-nodes multicast address, ff02::1.
func AllNodes() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 1}) }

// AllRouters returns the link-local all-routers multicast address, ff02::2.
func AllRouters() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 15: 2}) }
