package teredo

import (
	"encoding/binary"
	"math/bits"
)

// ICMPv6 message types that Teredo deals with (RFC 4443, RFC 4861).
const (
	ICMPv6Unreachable         = 1
	ICMPv6EchoRequest         = 128
	ICMPv6EchoReply           = 129
	ICMPv6RouterSolicitation  = 133
	ICMPv6RouterAdvertisement = 134
	icmpv6Redirect            = 137

	ICMPv6NeighborSolicitation  = 135
	ICMPv6NeighborAdvertisement = 136
)

// checksumAt is where the ICMPv6 checksum is, from the start of the IPv6 header.
const checksumAt = HeaderLen + 2

// IsICMPv6Type reports whether the IPv6 packet has an ICMPv6 message of the type right after its header.
// It looks at nothing else: the message may still be malformed.
func IsICMPv6Type(ipv6 []byte, typ uint8) bool {
	return len(ipv6) >= HeaderLen+4 && NextHeader(ipv6) == nextICMPv6 && ipv6[HeaderLen] == typ
}

// checkICMPv6 checks that the packet is one whole IPv6 packet that carries, right after its header, an
// ICMPv6 message of code 0, with at least minLen bytes and a correct checksum.
func checkICMPv6(ipv6 []byte, minLen int) error {
	if err := CheckIPv6(ipv6); err != nil {
		return err
	}
	switch {
	case NextHeader(ipv6) != nextICMPv6:
		return ErrNotICMPv6
	case len(ipv6) < HeaderLen+minLen:
		return ErrICMPv6Short
	case UpperLayerSum(ipv6) != 0xffff:
		return ErrICMPv6Checksum
	case ipv6[HeaderLen+1] != 0:
		return ErrICMPv6Code
	}
	return nil
}

// putChecksum writes the checksum of the ICMPv6 message in the packet. The field must be zero before.
func putChecksum(ipv6 []byte) {
	binary.BigEndian.PutUint16(ipv6[checksumAt:], ^UpperLayerSum(ipv6))
}

// UpperLayerSum returns the ones-complement sum that the checksum of TCP, UDP or ICMPv6 complements, over the pseudo-header of
// RFC 8200 §8.1 and all that follows the IPv6 header. The packet must have no extension headers. The sum is 0xffff when the
// packet has its checksum, and that checksum is right.
func UpperLayerSum(ipv6 []byte) uint16 {
	addressesAndPayload := ipv6[sourceAt:]
	return onesComplementSum(addressesAndPayload, uint64(len(ipv6)-HeaderLen)+uint64(NextHeader(ipv6)))
}

// onesComplementSum adds b, as 16-bit words in network order, to sum. An odd last byte counts as if a zero
// byte followed. It adds eight bytes at a time: because 2^16 is 1 modulo 2^16-1, so is 2^64, and a carry out
// of the top comes back in at the bottom (RFC 1071 §2).
func onesComplementSum(b []byte, sum uint64) uint16 {
	var carry uint64
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(last[:]), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}
