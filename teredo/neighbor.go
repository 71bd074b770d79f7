package teredo

import (
	"net/netip"
)

const (
	neighborLen = 24 // a neighbor solicitation or advertisement without options (RFC 4861 §4.3, §4.4)

	optionSourceLinkLayer = 1
	optionTargetLinkLayer = 2
	ethernetOptionLen     = 8 // of an option with a MAC address (RFC 2464 §6)

	flagSolicited = 0x40 // of a neighbor advertisement
)

// NeighborSolicitation is what a proxy needs of a neighbor solicitation on an Ethernet link (RFC 4861 §4.3).
type NeighborSolicitation struct {
	Source    netip.Addr // unspecified when a host tests whether it may have the address Target (RFC 4862 §5.4.2)
	Target    netip.Addr // whose MAC address is asked for
	LinkLayer [6]byte    // of the source, if HasLinkLayer
	// HasLinkLayer is false when the option is missing, as it may be in a solicitation that is sent to the target's own address.
	HasLinkLayer bool
}

// ParseNeighborSolicitation reads a neighbor solicitation that is valid by RFC 4861 §7.1.1.
// The error names the broken rule: those of CheckIPv6 and of ICMPv6 messages.
func ParseNeighborSolicitation(ipv6 []byte) (s NeighborSolicitation, err error) {
	if err := checkICMPv6(ipv6, neighborLen); err != nil {
		return s, err
	}
	s.Source = Source(ipv6)
	s.Target = netip.AddrFrom16([16]byte(ipv6[HeaderLen+8 : HeaderLen+neighborLen]))
	switch {
	case ipv6[HeaderLen] != ICMPv6NeighborSolicitation:
		return s, ErrICMPv6Type
	case HopLimit(ipv6) != DefaultHopLimit:
		return s, ErrHopLimit
	case s.Target.IsMulticast():
		return s, ErrTarget
	}
	for rest := ipv6[HeaderLen+neighborLen:]; len(rest) > 0; {
		var option []byte
		if option, rest, err = nextOption(rest); err != nil {
			return s, err
		}
		if option[0] == optionSourceLinkLayer {
			if len(option) != ethernetOptionLen {
				return s, ErrOptionLength
			}
			s.LinkLayer, s.HasLinkLayer = [6]byte(option[2:]), true
		}
	}
	if s.Source.IsUnspecified() && (s.HasLinkLayer || Destination(ipv6) != solicitedNode(s.Target)) {
		return s, ErrAddressTest
	}
	return s, nil
}

// solicitedNode returns the multicast group of all nodes whose addresses end as addr does (RFC 4291 §2.7.1).
func solicitedNode(addr netip.Addr) netip.Addr {
	a := addr.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff, 13: a[13], 14: a[14], 15: a[15]})
}

// AppendProxyAdvertisement appends an IPv6 packet with the advertisement by which a proxy answers a neighbor solicitation on an
// Ethernet link, 72 bytes: packets to the target go to the MAC address. The flag Override is clear, so a host of the link that
// has the address itself takes precedence (RFC 4861 §7.2.8). The flag Router is clear, too, as the target is a host.
func AppendProxyAdvertisement(b []byte, src, dst, target netip.Addr, mac [6]byte) []byte {
	start := len(b)
	b = appendIPv6(b, src, dst, neighborLen+ethernetOptionLen, nextICMPv6, DefaultHopLimit)
	b = append(b, ICMPv6NeighborAdvertisement, 0, 0, 0, flagSolicited, 0, 0, 0)
	t := target.As16()
	b = append(b, t[:]...)
	b = append(b, optionTargetLinkLayer, ethernetOptionLen/8)
	b = append(b, mac[:]...)
	putChecksum(b[start:])
	return b
}
