package teredo

import "net/netip"

// AppendBubble appends a bubble: an IPv6 header without payload, Next Header 59 (RFC 4380 §2.8). Bubbles
// of local discovery have hop limit 1; elsewhere it is free, and this suite sends 255.
func AppendBubble(b []byte, src, dst netip.Addr, hopLimit uint8) []byte {
	return appendIPv6(b, src, dst, 0, nextNone, hopLimit)
}

// IsBubble reports whether the IPv6 packet is a bubble.
func IsBubble(ipv6 []byte) bool {
	return len(ipv6) >= HeaderLen && ipv6[4] == 0 && ipv6[5] == 0 && ipv6[6] == nextNone
}
