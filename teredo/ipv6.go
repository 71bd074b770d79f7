package teredo

import (
	"encoding/binary"
	"net/netip"
)

// HeaderLen is the size of the IPv6 header.
const HeaderLen = 40

// Next Header values that Teredo deals with.
const (
	nextHopByHop    = 0
	nextRouting     = 43
	nextFragment    = 44
	nextAH          = 51
	nextICMPv6      = 58
	nextNone        = 59
	nextDestination = 60
)

// hopLimit is sent where nothing else is asked for; Neighbor Discovery demands it (RFC 4861 §4.1).
const hopLimit = 255

// CheckIPv6 checks that b is one whole IPv6 packet: version 6, and exactly 40 + Payload Length bytes.
// It returns ErrIPv6Header, ErrIPv6Version or ErrIPv6Length.
func CheckIPv6(b []byte) error {
	switch {
	case len(b) < HeaderLen:
		return ErrIPv6Header
	case b[0]>>4 != 6:
		return ErrIPv6Version
	case len(b) != packetLen(b):
		return ErrIPv6Length
	}
	return nil
}

// Source returns the source address of an IPv6 packet of at least HeaderLen bytes.
func Source(ipv6 []byte) netip.Addr { return netip.AddrFrom16([16]byte(ipv6[8:24])) }

// Destination returns the destination address of an IPv6 packet of at least HeaderLen bytes.
func Destination(ipv6 []byte) netip.Addr { return netip.AddrFrom16([16]byte(ipv6[24:40])) }

// NextHeader returns the Next Header field of an IPv6 packet of at least HeaderLen bytes.
func NextHeader(ipv6 []byte) byte { return ipv6[6] }

// packetLen returns the size that the header gives to its packet.
func packetLen(ipv6 []byte) int { return HeaderLen + int(binary.BigEndian.Uint16(ipv6[4:])) }

// appendIPv6 appends an IPv6 header with traffic class and flow label zero.
func appendIPv6(b []byte, src, dst netip.Addr, payloadLen int, next, hops uint8) []byte {
	s, d := src.As16(), dst.As16()
	b = append(b, 0x60, 0, 0, 0, byte(payloadLen>>8), byte(payloadLen), next, hops)
	b = append(b, s[:]...)
	return append(b, d[:]...)
}

// upperLayer skips the extension headers of an IPv6 packet. It returns the first Next Header value that is
// not one of theirs and what follows. The payload is nil where it cannot be seen: behind a truncated
// extension header, or in a fragment that is not the first.
func upperLayer(ipv6 []byte) (next uint8, payload []byte) {
	next, payload = NextHeader(ipv6), ipv6[HeaderLen:]
	for {
		var size int
		switch {
		case len(payload) < 8:
			return next, payload
		case next == nextHopByHop, next == nextRouting, next == nextDestination:
			size = (int(payload[1]) + 1) * 8
		case next == nextAH:
			size = (int(payload[1]) + 2) * 4
		case next == nextFragment:
			size = 8
			if binary.BigEndian.Uint16(payload[2:])&^7 != 0 {
				return payload[0], nil
			}
		default:
			return next, payload
		}
		next = payload[0]
		if size > len(payload) {
			return next, nil
		}
		payload = payload[size:]
	}
}
