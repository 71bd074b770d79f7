package tun

import (
	"encoding/binary"
	"math/bits"

	"github.com/teredo-suite/teredo/teredo"
)

// sum adds the 16-bit words of b to a one's complement sum (RFC 1071). It works in the machine's byte order, which makes
// no difference to the sum of words that are all in the same one (RFC 1071 §2(B)). If the length of b is odd, nothing may
// be added after it.
func sum(b []byte, acc uint64) uint64 {
	head, rest := sumVectors(b)
	acc, carry := bits.Add64(acc, head, 0)
	return sumWords(rest, acc+carry)
}

// sumWords is sum without vector instructions.
func sumWords(b []byte, acc uint64) uint64 {
	var carry uint64
	for len(b) >= 64 {
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[0:]), 0)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[24:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[32:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[40:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[48:]), carry)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b[56:]), carry)
		acc += carry
		b = b[64:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(b), 0)
		acc += carry
		b = b[8:]
	}
	if len(b) > 0 {
		var rest [8]byte
		copy(rest[:], b)
		acc, carry = bits.Add64(acc, binary.NativeEndian.Uint64(rest[:]), 0)
		acc += carry
	}
	return acc
}

// sumWord adds a 16-bit word of a packet, given as the number that it stands for.
func sumWord(v uint16, acc uint64) uint64 {
	acc, carry := bits.Add64(acc, uint64(networkOrder(v)), 0)
	return acc + carry
}

// fold reduces a sum to the number that stands for it in a packet.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return networkOrder(uint16(acc))
}

// networkOrder converts between a number and what the machine reads where the number stands in network byte order.
func networkOrder(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

// pseudoHeader is the sum of the pseudo-header of an IPv6 packet (RFC 8200 §8.1) without the length.
func pseudoHeader(packet []byte, protocol uint8) uint64 {
	return sumWord(uint16(protocol), sum(teredo.AddressBytes(packet), 0))
}
