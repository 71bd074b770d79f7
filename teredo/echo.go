package teredo

import (
	"encoding/binary"
	"net/netip"
)

// echoLen is the size of an echo message without data.
const echoLen = 8

// Echo is an ICMPv6 echo request or reply (RFC 4443 §4). Teredo tests the path to a native peer with them:
// the data is then a nonce (RFC 4380 §5.2.9).
type Echo struct {
	Type    uint8 // ICMPv6EchoRequest or ICMPv6EchoReply
	ID, Seq uint16
	Data    []byte // aliases the packet
}

// ParseEcho reads an echo request or reply out of an IPv6 packet. It returns one of the errors of CheckIPv6,
// ErrNotICMPv6, ErrICMPv6Short, ErrICMPv6Type, ErrICMPv6Code or ErrICMPv6Checksum.
func ParseEcho(ipv6 []byte) (Echo, error) {
	if err := checkICMPv6(ipv6, echoLen); err != nil {
		return Echo{}, err
	}
	m := ipv6[HeaderLen:]
	if m[0] != ICMPv6EchoRequest && m[0] != ICMPv6EchoReply {
		return Echo{}, ErrICMPv6Type
	}
	return Echo{
		Type: m[0],
		ID:   binary.BigEndian.Uint16(m[4:]),
		Seq:  binary.BigEndian.Uint16(m[6:]),
		Data: m[echoLen:],
	}, nil
}

// AppendEchoRequest appends an IPv6 packet with an echo request.
func AppendEchoRequest(b []byte, src, dst netip.Addr, id, seq uint16, data []byte) []byte {
	return appendEcho(b, src, dst, Echo{Type: ICMPv6EchoRequest, ID: id, Seq: seq, Data: data})
}

// AppendEchoReply appends an IPv6 packet that answers an echo request: from src to the source of the request,
// with its identifier, sequence number and data. It returns b unchanged when request is not an echo request
// that ParseEcho accepts.
func AppendEchoReply(b []byte, src netip.Addr, request []byte) []byte {
	e, err := ParseEcho(request)
	if err != nil || e.Type != ICMPv6EchoRequest {
		return b
	}
	e.Type = ICMPv6EchoReply
	return appendEcho(b, src, Source(request), e)
}

func appendEcho(b []byte, src, dst netip.Addr, e Echo) []byte {
	start := len(b)
	b = appendIPv6(b, src, dst, echoLen+len(e.Data), nextICMPv6, DefaultHopLimit)
	b = append(b, e.Type, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, e.ID)
	b = binary.BigEndian.AppendUint16(b, e.Seq)
	b = append(b, e.Data...)
	putChecksum(b[start:])
	return b
}
