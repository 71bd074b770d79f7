package teredo

import "net/netip"

const (
	originIndicator = 0 // the second octet of an origin indication; the first is zero too
	originLen       = 8
)

// AppendOrigin appends the origin indication (RFC 4380 §5.1.1): where the server received the packet from.
//
//	00 00 | port ^ FFFF (2) | IPv4 ^ FFFFFFFF (4)
func AppendOrigin(b []byte, origin netip.AddrPort) []byte {
	o := [originLen]byte{0, originIndicator}
	putObfuscated((*[6]byte)(o[2:]), origin)
	return append(b, o[:]...)
}
