package teredo

import "net/netip"

// Codes of an ICMPv6 Destination Unreachable message (RFC 4443 §3.1).
const (
	UnreachableNoRoute    = 0
	UnreachableProhibited = 1
	UnreachableScope      = 2
	UnreachableAddress    = 3
	UnreachablePort       = 4
)

// AppendUnreachable appends an IPv6 packet with a Destination Unreachable message (RFC 4443 §3.1) from src to the
// source of the invoking packet, of which it quotes as much as fits in 1280 bytes. It returns b unchanged when
// RFC 4443 §2.4(e) forbids an error about the invoking packet, or when that is not an IPv6 packet.
// The caller must limit the rate (§2.4(f)).
func AppendUnreachable(b []byte, src netip.Addr, code uint8, invoking []byte) []byte {
	if !mayReport(invoking) {
		return b
	}
	const unreachableLen = 8
	quote := invoking[:min(len(invoking), MTU-HeaderLen-unreachableLen)]
	start := len(b)
	b = appendIPv6(b, src, Source(invoking), unreachableLen+len(quote), nextICMPv6, DefaultHopLimit)
	b = append(b, ICMPv6Unreachable, code, 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	putChecksum(b[start:])
	return b
}

// mayReport reports whether RFC 4443 §2.4(e) allows an error about the packet.
func mayReport(ipv6 []byte) bool {
	if len(ipv6) < HeaderLen || ipv6[0]>>4 != 6 {
		return false
	}
	if src := Source(ipv6); src.IsUnspecified() || src.IsMulticast() || Destination(ipv6).IsMulticast() {
		return false
	}
	next, payload := upperLayer(ipv6)
	if next != nextICMPv6 {
		return true
	}
	// Types below 128 are errors. A message whose type cannot be seen may be one.
	return len(payload) > 0 && payload[0] >= 128 && payload[0] != icmpv6Redirect
}
