package teredo

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// What NewNativePrefix refuses.
var (
	ErrNativeServer = errors.New("teredo: the server's address is not one IPv4 address")
	ErrNativeLength = errors.New("teredo: the native prefix is not a /64")
	ErrNativeScope  = errors.New("teredo: the native prefix is not a global unicast prefix")
)

// NativePrefix is a native /64 of an operator that stands for the prefix 2001:0:SERVER::/64 of the clients of one server.
// Addresses are translated both ways without state, and without a change of any checksum that covers them (RFC 6296 §3.5):
// the prefix is exchanged, and one 16-bit word of the interface identifier makes up for the difference.
//
// The word is the first one that is not 0xffff, and it never becomes 0xffff. So the same word is found on the way back, and
// the translation is a bijection. The single identifier without such a word, of 64 ones, is not translated. It belongs to
// no client: it stands for port 0 of 0.0.0.0.
type NativePrefix struct {
	server         netip.Addr
	prefix         netip.Prefix
	teredo, native uint64 // the first 64 bits of both kinds of addresses
	difference     uint16 // what a word gains when teredo becomes native, in ones' complement arithmetic
}

// NewNativePrefix makes the translation between the clients of a server and a native prefix. The error is one of ErrNativeServer,
// ErrNativeLength and ErrNativeScope.
func NewNativePrefix(server netip.Addr, prefix netip.Prefix) (NativePrefix, error) {
	switch {
	case !server.Is4() || server.IsUnspecified() || server.IsMulticast():
		return NativePrefix{}, ErrNativeServer
	case !prefix.Addr().Is6() || prefix.Bits() != 64:
		return NativePrefix{}, ErrNativeLength
	case !new(Filter).Native(prefix.Masked().Addr()):
		return NativePrefix{}, ErrNativeScope
	}
	p := NativePrefix{server: server, prefix: prefix.Masked()}
	own, other := Address{Server: server}.Addr().As16(), p.prefix.Addr().As16()
	p.teredo, p.native = binary.BigEndian.Uint64(own[:]), binary.BigEndian.Uint64(other[:])
	p.difference = difference(own[:8], other[:8])
	return p, nil
}

// Server is the IPv4 address of the server.
func (p NativePrefix) Server() netip.Addr { return p.server }

// Prefix is the native prefix.
func (p NativePrefix) Prefix() netip.Prefix { return p.prefix }

// String returns SERVER=PREFIX.
func (p NativePrefix) String() string { return p.server.String() + "=" + p.prefix.String() }

// MarshalText writes what String returns.
func (p NativePrefix) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// difference is what has to be added to a word when the prefix to takes the place of from (RFC 6296 §3.1).
func difference(from, to []byte) uint16 {
	return addWords(onesComplementSum(from, 0), ^onesComplementSum(to, 0))
}

// addWords is the sum in ones' complement arithmetic. Zero has one form: 0xffff becomes 0 (RFC 6296 §3.2).
func addWords(a, b uint16) uint16 {
	sum := uint32(a) + uint32(b)
	if sum = sum>>16 + sum&0xffff; sum == 0xffff {
		return 0
	}
	return uint16(sum)
}

// exchange gives the 16 bytes of an address another prefix, and adds the difference to its identifier. It reports whether it
// has: not when the address has another prefix, or an identifier of 64 ones.
func exchange(address []byte, from, to uint64, difference uint16) bool {
	if binary.BigEndian.Uint64(address) != from {
		return false
	}
	for word := address[8:16]; len(word) > 0; word = word[2:] {
		if v := binary.BigEndian.Uint16(word); v != 0xffff {
			binary.BigEndian.PutUint64(address, to)
			binary.BigEndian.PutUint16(word, addWords(v, difference))
			return true
		}
	}
	return false
}

// NativePrefixes are the native prefixes of several servers. No two may have the same server or the same prefix. Without any,
// nothing is translated.
type NativePrefixes []NativePrefix

// Prefixes returns the native prefixes alone.
func (ps NativePrefixes) Prefixes() []netip.Prefix {
	prefixes := make([]netip.Prefix, len(ps))
	for i := range ps {
		prefixes[i] = ps[i].prefix
	}
	return prefixes
}

// Contains reports whether an address is in one of the native prefixes.
func (ps NativePrefixes) Contains(native netip.Addr) bool {
	b := native.AsSlice()
	for i := range ps {
		if len(b) == 16 && binary.BigEndian.Uint64(b) == ps[i].native {
			return true
		}
	}
	return false
}

// Native returns the native address of a client. It returns false when the client's server has no native prefix.
func (ps NativePrefixes) Native(client netip.Addr) (netip.Addr, bool) {
	b := client.As16()
	if !ps.toNative(b[:]) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(b), true
}

// Teredo returns the Teredo address of the client that has a native address. It returns false when the address is in none
// of the native prefixes. The address that it returns is not checked: hardly any identifier is that of a client.
func (ps NativePrefixes) Teredo(native netip.Addr) (netip.Addr, bool) {
	b := native.As16()
	if !ps.toTeredo(b[:]) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(b), true
}

// Outward translates an IPv6 packet on its way from the Teredo service to the native side: its source and, in an ICMPv6 error,
// the destination of the packet that the error quotes. The packet must have HeaderLen bytes or more.
func (ps NativePrefixes) Outward(ipv6 []byte) {
	ps.toNative(ipv6[8:24])
	if q := quoted(ipv6); q != nil {
		ps.toNative(q[24:40])
	}
}

// Inward translates an IPv6 packet on its way from the native side to a client: its destination and, in an ICMPv6 error, the
// source of the packet that the error quotes. It reports whether the packet is for a native prefix; else it is left as it is.
func (ps NativePrefixes) Inward(ipv6 []byte) bool {
	if !ps.toTeredo(ipv6[24:40]) {
		return false
	}
	if q := quoted(ipv6); q != nil {
		ps.toTeredo(q[8:24])
	}
	return true
}

func (ps NativePrefixes) toNative(address []byte) bool {
	for i := range ps {
		if p := &ps[i]; exchange(address, p.teredo, p.native, p.difference) {
			return true
		}
	}
	return false
}

func (ps NativePrefixes) toTeredo(address []byte) bool {
	for i := range ps {
		if p := &ps[i]; exchange(address, p.native, p.teredo, ^p.difference) {
			return true
		}
	}
	return false
}

// quoted returns the packet that an ICMPv6 error quotes (RFC 4443 §3), if its whole IPv6 header is there. It returns nil for any
// other packet.
func quoted(ipv6 []byte) []byte {
	switch NextHeader(ipv6) {
	case nextICMPv6, nextHopByHop, nextRouting, nextDestination, nextFragment, nextAH:
	default:
		return nil
	}
	const errorLen = 8
	next, message := upperLayer(ipv6)
	if next != nextICMPv6 || len(message) < errorLen+HeaderLen || message[0] >= 128 || message[errorLen]>>4 != 6 {
		return nil
	}
	return message[errorLen:]
}
