package teredo

import (
	"encoding/binary"
	"net/netip"
)

// HeaderLen is the size of the IPv6 header. What follows it may be an extension header.
const HeaderLen = 40

// DefaultHopLimit is the hop limit of the packets that this package makes. Neighbor Discovery demands this value
// (RFC 4861 §4.1 and §4.2), and no RFC demands another for bubbles and echo messages.
const DefaultHopLimit = 255

// Offsets of the fields of the IPv6 header (RFC 8200 §3).
const (
	payloadLenAt  = 4
	nextHeaderAt  = 6
	hopLimitAt    = 7
	sourceAt      = 8
	destinationAt = 24
)

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

// CheckIPv6 checks that b is one whole IPv6 packet: version 6, and exactly 40 + Payload Length bytes.
// It returns ErrIPv6Header, ErrIPv6Version or ErrIPv6Length.
func CheckIPv6(b []byte) error {
	switch {
	case len(b) < HeaderLen:
		return ErrIPv6Header
	case b[0]>>4 != 6:
		return ErrIPv6Version
	case len(b) != PacketLen(b):
		return ErrIPv6Length
	}
	return nil
}

// The functions below read and write fields of the header of an IPv6 packet (RFC 8200 §3). They check nothing, and panic
// when the slice is shorter than HeaderLen or the field.

// ClassAndLabel returns the traffic class (8 bits) followed by the flow label (20 bits).
func ClassAndLabel(ipv6 []byte) uint32 { return binary.BigEndian.Uint32(ipv6) & (1<<28 - 1) }

// PacketLen returns the size of the whole packet in bytes, as the header tells it: 40 + Payload Length.
func PacketLen(ipv6 []byte) int { return HeaderLen + int(binary.BigEndian.Uint16(ipv6[payloadLenAt:])) }

// PutPayloadLen sets the Payload Length: the size in bytes of all that follows the header.
func PutPayloadLen(ipv6 []byte, size int) {
	binary.BigEndian.PutUint16(ipv6[payloadLenAt:], uint16(size))
}

// NextHeader returns the Next Header field: the protocol, or the kind of the first extension header.
func NextHeader(ipv6 []byte) uint8 { return ipv6[nextHeaderAt] }

// HopLimit returns the hop limit.
func HopLimit(ipv6 []byte) uint8 { return ipv6[hopLimitAt] }

// PutHopLimit sets the hop limit.
func PutHopLimit(ipv6 []byte, hops uint8) { ipv6[hopLimitAt] = hops }

// Source returns the source address.
func Source(ipv6 []byte) netip.Addr { return netip.AddrFrom16([16]byte(SourceBytes(ipv6))) }

// Destination returns the destination address.
func Destination(ipv6 []byte) netip.Addr { return netip.AddrFrom16([16]byte(DestinationBytes(ipv6))) }

// SourceBytes returns the 16 bytes of the source address, which alias the packet.
func SourceBytes(ipv6 []byte) []byte { return ipv6[sourceAt:destinationAt] }

// DestinationBytes returns the 16 bytes of the destination address, which alias the packet.
func DestinationBytes(ipv6 []byte) []byte { return ipv6[destinationAt:HeaderLen] }

// AddressBytes returns the 32 bytes of both addresses, the source first. They alias the packet.
func AddressBytes(ipv6 []byte) []byte { return ipv6[sourceAt:HeaderLen] }

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
