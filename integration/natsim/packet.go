package natsim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/teredo"
)

// Packet is one packet in transit: an IPv4 UDP datagram, or a native IPv6 packet. Its payload never changes.
type Packet struct {
	ID       uint64 // the same at every hop, also behind a NAT
	Src, Dst netip.AddrPort
	TTL      uint8
	Payload  []byte // of UDP; the whole packet when it is a native one
}

// Native reports whether the packet is an IPv6 packet outside of any tunnel. Its ports are 0.
func (p Packet) Native() bool { return p.Src.Addr().Is6() }

// IPv6 returns the IPv6 packet that the packet is, or carries; nil when it carries none.
func (p Packet) IPv6() []byte {
	if p.Native() {
		return p.Payload
	}
	var tunnelled teredo.Packet
	if tunnelled.Parse(p.Payload) != nil {
		return nil
	}
	return tunnelled.IPv6
}

// Kind describes the packet in a word or two.
func (p Packet) Kind() string {
	b := p.IPv6()
	switch {
	case b == nil:
		return "malformed"
	case teredo.IsBubble(b):
		return "bubble"
	case teredo.IsICMPv6Type(b, teredo.ICMPv6RouterSolicitation):
		return "solicitation"
	case teredo.IsICMPv6Type(b, teredo.ICMPv6RouterAdvertisement):
		return "advertisement"
	case teredo.IsICMPv6Type(b, teredo.ICMPv6EchoRequest):
		return "echo request"
	case teredo.IsICMPv6Type(b, teredo.ICMPv6EchoReply):
		return "echo reply"
	case teredo.IsICMPv6Type(b, teredo.ICMPv6Unreachable):
		return "unreachable"
	}
	return "data"
}

func (p Packet) String() string {
	var s strings.Builder
	if p.Native() {
		fmt.Fprintf(&s, "%v > %v", p.Src.Addr(), p.Dst.Addr())
	} else {
		fmt.Fprintf(&s, "%v > %v", p.Src, p.Dst)
	}
	fmt.Fprintf(&s, " %s", p.Kind())
	if b := p.IPv6(); b != nil && !p.Native() {
		fmt.Fprintf(&s, " (%v > %v)", teredo.Source(b), teredo.Destination(b))
	}
	return s.String()
}

// nativePacket makes the Packet of an IPv6 packet.
func nativePacket(ipv6 []byte) Packet {
	return Packet{
		Src: netip.AddrPortFrom(teredo.Source(ipv6), 0), Dst: netip.AddrPortFrom(teredo.Destination(ipv6), 0),
		TTL: teredo.HopLimit(ipv6), Payload: ipv6,
	}
}

const (
	nextUDP      = 17
	udpHeaderLen = 8
)

// dataPacket makes an IPv6 UDP packet.
func dataPacket(src, dst netip.AddrPort, data []byte) []byte {
	s, d := src.Addr().As16(), dst.Addr().As16()
	size := udpHeaderLen + len(data)
	b := []byte{0x60, 0, 0, 0, byte(size >> 8), byte(size), nextUDP, 64}
	b = append(append(b, s[:]...), d[:]...)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	b = binary.BigEndian.AppendUint16(b, dst.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(size))
	b = append(b, 0, 0)
	b = append(b, data...)
	sum := ^teredo.UpperLayerSum(b)
	if sum == 0 {
		sum = 0xffff // 0 means no checksum
	}
	binary.BigEndian.PutUint16(b[teredo.HeaderLen+6:], sum)
	return b
}

// parseData takes an IPv6 UDP packet apart.
func parseData(b []byte) (src, dst netip.AddrPort, data []byte, ok bool) {
	if teredo.CheckIPv6(b) != nil || teredo.NextHeader(b) != nextUDP || len(b) < teredo.HeaderLen+udpHeaderLen || teredo.UpperLayerSum(b) != 0xffff {
		return src, dst, nil, false
	}
	u := b[teredo.HeaderLen:]
	src = netip.AddrPortFrom(teredo.Source(b), binary.BigEndian.Uint16(u))
	dst = netip.AddrPortFrom(teredo.Destination(b), binary.BigEndian.Uint16(u[2:]))
	return src, dst, u[udpHeaderLen:], true
}
