package teredo

import "net/netip"

// AppendBubble appends a bubble, 40 bytes: an IPv6 header without payload, with Next Header 59 (RFC 4380 §2.8).
// Bubbles of local discovery have the hop limit 1 (§5.2.8); for others use DefaultHopLimit.
func AppendBubble(b []byte, src, dst netip.Addr, hopLimit uint8) []byte {
	return appendIPv6(b, src, dst, 0, nextNone, hopLimit)
}

// IsBubble reports whether the IPv6 packet is a bubble.
func IsBubble(ipv6 []byte) bool {
	return len(ipv6) >= HeaderLen && PacketLen(ipv6) == HeaderLen && NextHeader(ipv6) == nextNone
}
