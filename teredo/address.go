package teredo

import (
	"encoding/binary"
	"net/netip"
)

// Flags of a Teredo address (RFC 4380 §4, RFC 5991 §3.1).
const (
	FlagCone       = 0x8000 // the client is behind a cone NAT
	FlagRandomMask = 0x3CFF // bits that a client fills with random values
)

// Address has the fields of a Teredo IPv6 address (RFC 4380 §4):
//
//	2001:0000 | server IPv4 (4) | flags (2) | mapped port ^ FFFF (2) | mapped IPv4 ^ FFFFFFFF (4)
type Address struct {
	Server netip.Addr
	Flags  uint16 // all 16 bits; receivers must ignore all but FlagCone (RFC 5991 §3.1)
	Mapped netip.AddrPort
}

// ParseAddress takes a Teredo address apart. It returns false when a is not in 2001::/32.
func ParseAddress(a netip.Addr) (Address, bool) {
	b := teredoBytes(a)
	if b == nil {
		return Address{}, false
	}
	return Address{Server: ServerOf(a), Flags: binary.BigEndian.Uint16(b[8:]), Mapped: Mapped(a)}, true
}

// Addr returns the Teredo address with these fields. Fields that are not set count as zeros.
func (a Address) Addr() netip.Addr {
	b := [16]byte{0x20, 0x01}
	server := ipv4(a.Server)
	copy(b[4:], server[:])
	putIdentifier((*[8]byte)(b[8:]), a.Flags, a.Mapped)
	return netip.AddrFrom16(b)
}

// IsTeredo reports whether a is in 2001::/32.
func IsTeredo(a netip.Addr) bool { return teredoBytes(a) != nil }

// Mapped returns the mapped address and port embedded in a Teredo address, the zero AddrPort for any other address.
func Mapped(a netip.Addr) netip.AddrPort {
	b := teredoBytes(a)
	if b == nil {
		return netip.AddrPort{}
	}
	return parseObfuscated((*[6]byte)(b[10:]))
}

// ServerOf returns the server's IPv4 address embedded in a Teredo address, the zero Addr for any other address.
func ServerOf(a netip.Addr) netip.Addr {
	b := teredoBytes(a)
	if b == nil {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b[4:]))
}

// ConeBit reports the cone bit, bit 0 of the flags, of a Teredo address or of a link-local address in Teredo's format.
func ConeBit(a netip.Addr) bool {
	b := a.As16()
	return b[8]&(FlagCone>>8) != 0
}

// ClientLinkLocal returns the link-local address from which a client solicits (RFC 4380 §5.2.1).
// The embedded address is the client's choice: the zero AddrPort gives fe80::ffff:ffff:ffff.
func ClientLinkLocal(cone bool, mapped netip.AddrPort) netip.Addr {
	var flags uint16
	if cone {
		flags = FlagCone
	}
	return linkLocal(flags, mapped)
}

// ServerLinkLocal returns the link-local address from which a server advertises: its IPv4 address,
// port 3544, cone bit set (RFC 4380 §5.3.2).
func ServerLinkLocal(server netip.Addr) netip.Addr {
	return linkLocal(FlagCone, netip.AddrPortFrom(server, Port))
}

// linkLocal leaves the random flag bits zero: RFC 5991 §3.1 defines them for global Teredo addresses.
func linkLocal(flags uint16, mapped netip.AddrPort) netip.Addr {
	b := [16]byte{0xfe, 0x80}
	putIdentifier((*[8]byte)(b[8:]), flags, mapped)
	return netip.AddrFrom16(b)
}

// putIdentifier writes flags, port and IPv4 address as the interface identifier of RFC 4380 §4.
func putIdentifier(b *[8]byte, flags uint16, mapped netip.AddrPort) {
	binary.BigEndian.PutUint16(b[0:], flags)
	putObfuscated((*[6]byte)(b[2:]), mapped)
}

// putObfuscated writes the port and then the IPv4 address with all bits inverted, because some NATs rewrite addresses that
// they find in payloads (RFC 4380 §3.2.3).
func putObfuscated(b *[6]byte, a netip.AddrPort) {
	ip := ipv4(a.Addr())
	binary.BigEndian.PutUint16(b[0:], ^a.Port())
	binary.BigEndian.PutUint32(b[2:], ^binary.BigEndian.Uint32(ip[:]))
}

// parseObfuscated reads what putObfuscated writes.
func parseObfuscated(b *[6]byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{^b[2], ^b[3], ^b[4], ^b[5]}), ^binary.BigEndian.Uint16(b[0:]))
}

// teredoBytes returns the 16 bytes of a Teredo address, nil for any other address. It is called several times for
// every packet. Inlined, AsSlice allocates nothing and is several times faster than As16, whose copy of the array
// has to wait for the stores that made it.
func teredoBytes(a netip.Addr) []byte {
	if b := a.AsSlice(); len(b) == 16 && binary.BigEndian.Uint32(b) == 0x20010000 {
		return b
	}
	return nil
}

// ipv4 returns the bytes of an IPv4 address, zeros for the zero Addr.
func ipv4(a netip.Addr) (b [4]byte) {
	if a.IsValid() {
		b = a.As4()
	}
	return b
}
