package peer

import (
	"encoding/binary"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// key is an IPv6 address. All 128 bits count: several Teredo addresses can share one mapping (W-ADDR-06).
type key struct{ hi, lo uint64 }

func keyAt(b []byte) key {
	return key{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func keyOf(a netip.Addr) key {
	b := a.As16()
	return keyAt(b[:])
}

// sourceOf and destinationOf read the addresses of an IPv6 packet of at least teredo.HeaderLen bytes.
func sourceOf(ipv6 []byte) key      { return keyAt(ipv6[8:]) }
func destinationOf(ipv6 []byte) key { return keyAt(ipv6[24:]) }

func (k key) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], k.hi)
	binary.BigEndian.PutUint64(b[8:], k.lo)
	return netip.AddrFrom16(b)
}

func (k key) isTeredo() bool    { return k.hi>>32 == 0x20010000 }
func (k key) isLinkLocal() bool { return k.hi>>54 == 0xfe80>>6 }

// mapped is the mapped address and port in a Teredo address (RFC 4380 §4).
func (k key) mapped() endpoint {
	return endpoint(^uint32(k.lo))<<16 | endpoint(^uint16(k.lo>>32))
}

// server is the endpoint of the server that a Teredo address names.
func (k key) server() endpoint { return endpoint(uint32(k.hi))<<16 | teredo.Port }

// network is whom an address is counted under: the mapped IPv4 address in a Teredo address, the /64 of a native one.
func (k key) network() uint64 {
	if k.isTeredo() {
		return uint64(k.mapped() >> 16)
	}
	return k.hi
}
