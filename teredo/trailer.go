package teredo

import (
	"encoding/binary"
	"net/netip"
)

// Trailer types (RFC 6081 §4).
const (
	TrailerNonce             = 0x01
	TrailerAlternateAddress  = 0x03
	TrailerNeighborDiscovery = 0x04
	TrailerRandomPort        = 0x05

	// trailerRandomPortIANA is the type that RFC 6081 §9 registers, in contradiction to §4.5. Received, both count.
	trailerRandomPortIANA = 0x02
)

// Kinds of the neighbor discovery trailer (RFC 6081 §4.4).
const (
	DiscoverySolicitation  = 0
	DiscoveryAdvertisement = 1
)

const (
	maxAlternates = 4 // entries of an alternate address trailer
	alternateLen  = 6 // size of one: IPv4 address, port
)

// Trailer is one of the options that may follow the IPv6 packet (RFC 6081 §4): type (1), length of the value (1), value.
type Trailer struct {
	Type  uint8
	Value []byte // aliases the payload
}

// NextTrailer splits the first trailer off b. It returns false at the end of b and at a malformed trailer,
// where processing stops. The trailers before it still count (RFC 6081 §5.1.2).
func NextTrailer(b []byte) (t Trailer, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < 2+int(b[1]) {
		return Trailer{}, nil, false
	}
	end := 2 + int(b[1])
	return Trailer{Type: b[0], Value: b[2:end:end]}, b[end:], true
}

// Discard reports whether the whole packet is to be dropped: its type is unknown and
// begins with the bits 01 (RFC 6081 §5.1.2).
func (t Trailer) Discard() bool { return t.Type>>6 == 1 }

// Nonce returns the value of a nonce trailer (RFC 6081 §4.2).
func (t Trailer) Nonce() (nonce [4]byte, ok bool) {
	if t.Type != TrailerNonce || len(t.Value) != 4 {
		return nonce, false
	}
	return [4]byte(t.Value), true
}

// RandomPort returns the value of a random port trailer (RFC 6081 §4.5).
func (t Trailer) RandomPort() (port uint16, ok bool) {
	if t.Type != TrailerRandomPort && t.Type != trailerRandomPortIANA || len(t.Value) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(t.Value), true
}

// NeighborDiscovery returns the kind of a neighbor discovery trailer, DiscoverySolicitation or
// DiscoveryAdvertisement (RFC 6081 §4.4).
func (t Trailer) NeighborDiscovery() (kind uint8, ok bool) {
	if t.Type != TrailerNeighborDiscovery || len(t.Value) != 4 || t.Value[0] > DiscoveryAdvertisement {
		return 0, false
	}
	return t.Value[0], true
}

// AlternateAddresses appends the entries of an alternate address trailer to dst (RFC 6081 §4.3): one to four
// unicast IPv4 addresses, which may be private, each with a port. It returns dst unchanged and false when the
// trailer has another type or is malformed; drop the bubble with a malformed one (RFC 6081 §5.6.4.2).
func (t Trailer) AlternateAddresses(dst []netip.AddrPort) ([]netip.AddrPort, bool) {
	n := (len(t.Value) - 2) / alternateLen
	if t.Type != TrailerAlternateAddress || len(t.Value) != 2+n*alternateLen || n < 1 || n > maxAlternates {
		return dst, false
	}
	addrs := dst
	for entry := t.Value[2:]; len(entry) > 0; entry = entry[alternateLen:] {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte(entry)), binary.BigEndian.Uint16(entry[4:]))
		if !unicast(a.Addr()) || a.Port() == 0 {
			return dst, false
		}
		addrs = append(addrs, a)
	}
	return addrs, true
}

// unicast reports whether the IPv4 address can be the address of another host.
func unicast(ip netip.Addr) bool {
	first := ip.As4()[0]
	return first != 0 && !ip.IsLoopback() && first < 224 // multicast, reserved and broadcast are above
}

// AppendNonceTrailer appends a nonce trailer, 6 bytes.
func AppendNonceTrailer(b []byte, nonce [4]byte) []byte {
	b = append(b, TrailerNonce, 4)
	return append(b, nonce[:]...)
}

// AppendRandomPortTrailer appends a random port trailer, 4 bytes.
func AppendRandomPortTrailer(b []byte, port uint16) []byte {
	return append(b, TrailerRandomPort, 2, byte(port>>8), byte(port))
}

// AppendNeighborDiscoveryTrailer appends a neighbor discovery trailer, 6 bytes.
func AppendNeighborDiscoveryTrailer(b []byte, kind uint8) []byte {
	return append(b, TrailerNeighborDiscovery, 4, kind, 0, 0, 0)
}

// AppendAlternateAddressTrailer appends an alternate address trailer with the first four of addrs, which are
// IPv4 addresses: 4 bytes, and 6 for each. Without addresses it returns b unchanged.
func AppendAlternateAddressTrailer(b []byte, addrs ...netip.AddrPort) []byte {
	if len(addrs) == 0 {
		return b
	}
	addrs = addrs[:min(len(addrs), maxAlternates)]
	b = append(b, TrailerAlternateAddress, byte(2+len(addrs)*alternateLen), 0, 0)
	for _, a := range addrs {
		ip := ipv4(a.Addr())
		b = append(b, ip[0], ip[1], ip[2], ip[3], byte(a.Port()>>8), byte(a.Port()))
	}
	return b
}
