package teredo

import "net/netip"

// Packet is a Teredo UDP payload, taken apart (RFC 4380 §5.1.1, RFC 6081 §4):
//
//	[authentication] [origin indication] IPv6 packet [trailer]…
//
// Its slices alias the payload that was parsed.
type Packet struct {
	Auth     Auth           // valid when HasAuth
	HasAuth  bool           // an authentication encapsulation came first
	Origin   netip.AddrPort // the origin indication; valid when IsValid()
	IPv6     []byte         // header and payload: 40 + Payload Length bytes
	Trailers []byte         // what follows the IPv6 packet, for NextTrailer
}

// Parse takes the UDP payload b apart. A malformed payload gives one of ErrNotTeredo, ErrAuthTruncated,
// ErrAuthOrder, ErrOriginTruncated, ErrOriginRepeated and ErrIPv6Truncated; p is then of no use.
// Bytes after the IPv6 packet are legal (RFC 6081 §4) and end up in Trailers; the caller decides how many it accepts.
func (p *Packet) Parse(b []byte) error {
	*p = Packet{}
	for len(b) >= 2 && b[0] == 0 {
		var err error
		switch b[1] {
		case authIndicator:
			b, err = p.parseAuth(b)
		case originIndicator:
			b, err = p.parseOrigin(b)
		default:
			err = ErrNotTeredo
		}
		if err != nil {
			return err
		}
	}
	return p.parseIPv6(b)
}

func (p *Packet) parseAuth(b []byte) (rest []byte, err error) {
	if p.HasAuth || p.Origin.IsValid() {
		return nil, ErrAuthOrder
	}
	p.HasAuth = true
	return p.Auth.parse(b)
}

func (p *Packet) parseOrigin(b []byte) (rest []byte, err error) {
	if p.Origin.IsValid() {
		return nil, ErrOriginRepeated
	}
	if len(b) < originLen {
		return nil, ErrOriginTruncated
	}
	p.Origin = parseObfuscated((*[6]byte)(b[2:originLen]))
	return b[originLen:], nil
}

func (p *Packet) parseIPv6(b []byte) error {
	if len(b) > 0 && b[0]>>4 != 6 {
		return ErrNotTeredo
	}
	if len(b) < HeaderLen {
		return ErrIPv6Truncated
	}
	size := PacketLen(b)
	if size > len(b) {
		return ErrIPv6Truncated
	}
	p.IPv6, p.Trailers = b[:size:size], b[size:]
	return nil
}
