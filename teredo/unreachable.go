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
	quote := invoking[:min(len(invoking), MTU-HeaderLen-errorLen)]
	start := len(b)
	b = appendIPv6(b, src, Source(invoking), errorLen+len(quote), nextICMPv6, DefaultHopLimit)
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

// ICMPv6Error is an ICMPv6 error message (RFC 4443 §2.1, types below 128).
type ICMPv6Error struct {
	Type, Code uint8
	Invoking   []byte // as much of the packet that it is about as it quotes; aliases the packet
}

// errorLen is the size of an ICMPv6 error without what it quotes.
const errorLen = 8

// ParseICMPv6Error reads an ICMPv6 error out of an IPv6 packet. It returns one of the errors of CheckIPv6, ErrNotICMPv6, ErrICMPv6Short,
// ErrICMPv6Type or ErrICMPv6Checksum.
func ParseICMPv6Error(ipv6 []byte) (ICMPv6Error, error) {
	if err := checkICMPv6(ipv6, errorLen); err != nil && err != ErrICMPv6Code {
		return ICMPv6Error{}, err
	}
	m := ipv6[HeaderLen:]
	if m[0] >= ICMPv6EchoRequest {
		return ICMPv6Error{}, ErrICMPv6Type
	}
	return ICMPv6Error{Type: m[0], Code: m[1], Invoking: m[errorLen:]}, nil
}
