package teredo

import (
	"bytes"
	"encoding/binary"
	"math"
	"net/netip"
)

const (
	solicitationLen  = 8  // a router solicitation without options (RFC 4861 §4.1)
	advertisementLen = 16 // a router advertisement without options (RFC 4861 §4.2)

	optionPrefix    = 3
	optionPrefixLen = 32
	optionMTU       = 5
	optionMTULen    = 8
	// The option for a native prefix is experimental (RFC 4727 §5.1.3). The 6 bytes of its identifier tell it from other experiments.
	// The first 64 bits of the prefix follow; in a solicitation they are zero.
	optionNative           = 253
	optionNativeLen        = 16
	optionNativeIdentifier = "native"

	prefixBits     = 64
	flagAutonomous = 0x40 // of a Prefix Information option: hosts may form addresses
)

// AppendRouterSolicitation appends an IPv6 packet with a router solicitation to ff02::2, 48 bytes without
// options (RFC 4380 §5.2.1). The source is a ClientLinkLocal address.
func AppendRouterSolicitation(b []byte, src netip.Addr) []byte {
	return appendSolicitation(b, src, nil)
}

// AppendNativeSolicitation appends the router solicitation of AppendRouterSolicitation with an option that asks for the native prefix
// of the server, 64 bytes. Servers that do not know the option ignore it (RFC 4861 §4.1).
func AppendNativeSolicitation(b []byte, src netip.Addr) []byte {
	return appendSolicitation(b, src, appendNativeOption(nil, netip.IPv6Unspecified()))
}

func appendSolicitation(b []byte, src netip.Addr, options []byte) []byte {
	start := len(b)
	b = appendIPv6(b, src, AllRouters(), solicitationLen+len(options), nextICMPv6, DefaultHopLimit)
	b = append(b, ICMPv6RouterSolicitation, 0, 0, 0, 0, 0, 0, 0)
	b = append(b, options...)
	putChecksum(b[start:])
	return b
}

func appendNativeOption(b []byte, prefix netip.Addr) []byte {
	first := prefix.As16()
	b = append(b, optionNative, optionNativeLen/8)
	b = append(b, optionNativeIdentifier...)
	return append(b, first[:prefixBits/8]...)
}

// isNativeOption recognises the option for a native prefix among other experiments.
func isNativeOption(option []byte) bool {
	return option[0] == optionNative && len(option) == optionNativeLen && bytes.HasPrefix(option[2:], []byte(optionNativeIdentifier))
}

// AsksNativePrefix reports whether a router solicitation asks for the native prefix. ParseRouterSolicitation must have accepted it.
func AsksNativePrefix(ipv6 []byte) bool {
	for rest := ipv6[HeaderLen+solicitationLen:]; len(rest) > 0; {
		option, after, err := nextOption(rest)
		if err != nil {
			return false
		}
		if isNativeOption(option) {
			return true
		}
		rest = after
	}
	return false
}

// ParseRouterSolicitation returns the source address of a valid router solicitation (RFC 4861 §6.1.1): from a
// link-local address, to ff02::2. The lengths of options are checked, and their
// contents ignored: a tunnel has no link-layer addresses (RFC 4861 §4.1).
// The errors are those of CheckIPv6 and of ICMPv6 messages.
func ParseRouterSolicitation(ipv6 []byte) (src netip.Addr, err error) {
	if err := checkRouterMessage(ipv6, ICMPv6RouterSolicitation, solicitationLen); err != nil {
		return netip.Addr{}, err
	}
	if Destination(ipv6) != AllRouters() {
		return netip.Addr{}, ErrNotAllRouters
	}
	for rest := ipv6[HeaderLen+solicitationLen:]; len(rest) > 0; {
		if _, rest, err = nextOption(rest); err != nil {
			return netip.Addr{}, err
		}
	}
	return Source(ipv6), nil
}

// RouterAdvertisement has the fields of a router advertisement that a client needs.
type RouterAdvertisement struct {
	Source, Destination netip.Addr
	Prefix              netip.Prefix // of length 64: 2001:0000 and the server's IPv4 address
	MTU                 uint32       // of the last MTU option; 0 without one
	Native              netip.Prefix // of the last option for a native prefix, not checked; the zero Prefix without one
}

// AppendRouterAdvertisement appends an IPv6 packet with the router advertisement of the server with this IPv4
// address to dst, the source of the solicitation: 96 bytes with one autonomous /64 prefix of infinite lifetime
// and MTU 1280 (RFC 4380 §5.3.2). The server is no default router by RFC 4861, so its router lifetime is 0.
func AppendRouterAdvertisement(b []byte, server, dst netip.Addr) []byte {
	return appendAdvertisement(b, server, dst, nil)
}

// AppendNativeAdvertisement appends the router advertisement of the prefix's server with an option that has the native prefix, 112
// bytes. Only solicitations that ask for it may be answered so.
func AppendNativeAdvertisement(b []byte, p NativePrefix, dst netip.Addr) []byte {
	return appendAdvertisement(b, p.server, dst, appendNativeOption(nil, p.prefix.Addr()))
}

func appendAdvertisement(b []byte, server, dst netip.Addr, options []byte) []byte {
	start := len(b)
	b = appendIPv6(b, ServerLinkLocal(server), dst, advertisementLen+optionPrefixLen+optionMTULen+len(options), nextICMPv6, DefaultHopLimit)
	b = append(b, ICMPv6RouterAdvertisement, 0, 0, 0)
	b = append(b, 0, 0, 0, 0)             // hop limit, flags M and O, router lifetime: unspecified
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // reachable time, retransmission timer: unspecified

	ip := ipv4(server)
	b = append(b, optionPrefix, optionPrefixLen/8, prefixBits, flagAutonomous)
	b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // valid for ever
	b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // preferred for ever
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0x20, 0x01, 0, 0, ip[0], ip[1], ip[2], ip[3], 0, 0, 0, 0, 0, 0, 0, 0)

	b = append(b, optionMTU, optionMTULen/8, 0, 0)
	b = binary.BigEndian.AppendUint32(b, MTU)
	b = append(b, options...)
	putChecksum(b[start:])
	return b
}

// AdvertisementTemplate makes the router advertisements of one server, as AppendRouterAdvertisement and AppendNativeAdvertisement do,
// but faster: it copies a prepared packet and changes its destination and checksum.
type AdvertisementTemplate struct {
	packet []byte // to the unspecified address
	sum    uint16 // ones-complement sum of what its checksum covers
}

// NewAdvertisementTemplate returns the template of the server with this IPv4 address.
func NewAdvertisementTemplate(server netip.Addr) AdvertisementTemplate {
	return newTemplate(AppendRouterAdvertisement(nil, server, netip.IPv6Unspecified()))
}

// NewNativeAdvertisementTemplate returns the template of answers that have the native prefix.
func NewNativeAdvertisementTemplate(p NativePrefix) AdvertisementTemplate {
	return newTemplate(AppendNativeAdvertisement(nil, p, netip.IPv6Unspecified()))
}

func newTemplate(packet []byte) AdvertisementTemplate {
	return AdvertisementTemplate{packet, ^binary.BigEndian.Uint16(packet[checksumAt:])}
}

// Append appends the router advertisement to dst.
func (t *AdvertisementTemplate) Append(b []byte, dst netip.Addr) []byte {
	start := len(b)
	b = append(b, t.packet...)
	to := dst.As16()
	copy(DestinationBytes(b[start:]), to[:])
	binary.BigEndian.PutUint16(b[start+checksumAt:], ^onesComplementSum(to[:], uint64(t.sum)))
	return b
}

// ParseRouterAdvertisement reads a router advertisement that is valid by RFC 4861 §6.1.2 and has exactly one
// prefix, a /64 of the Teredo service prefix (RFC 4380 §5.2.1). Flags, lifetimes, other options and the bits after the
// prefix, which many servers set, are ignored (RFC 4861 §4.6.2). The caller must check
// that it answers a solicitation: Destination, and the server in Prefix.
// The errors are those of CheckIPv6, of ICMPv6 messages and of prefixes.
func ParseRouterAdvertisement(ipv6 []byte) (RouterAdvertisement, error) {
	if err := checkRouterMessage(ipv6, ICMPv6RouterAdvertisement, advertisementLen); err != nil {
		return RouterAdvertisement{}, err
	}
	ra := RouterAdvertisement{Source: Source(ipv6), Destination: Destination(ipv6)}
	for rest := ipv6[HeaderLen+advertisementLen:]; len(rest) > 0; {
		var option []byte
		var err error
		if option, rest, err = nextOption(rest); err == nil {
			err = ra.take(option)
		}
		if err != nil {
			return RouterAdvertisement{}, err
		}
	}
	if !ra.Prefix.IsValid() {
		return RouterAdvertisement{}, ErrPrefixCount
	}
	return ra, nil
}

// take reads one option of the advertisement.
func (ra *RouterAdvertisement) take(option []byte) error {
	switch option[0] {
	case optionPrefix:
		if ra.Prefix.IsValid() {
			return ErrPrefixCount
		}
		return ra.takePrefix(option)
	case optionMTU:
		if len(option) != optionMTULen {
			return ErrOptionLength
		}
		ra.MTU = binary.BigEndian.Uint32(option[4:])
	case optionNative:
		if isNativeOption(option) {
			var first [16]byte
			copy(first[:], option[optionNativeLen-prefixBits/8:])
			ra.Native = netip.PrefixFrom(netip.AddrFrom16(first), prefixBits)
		}
	}
	return nil
}

func (ra *RouterAdvertisement) takePrefix(option []byte) error {
	if len(option) != optionPrefixLen {
		return ErrOptionLength
	}
	addr := netip.AddrFrom16([16]byte(option[16:32]))
	switch {
	case option[2] != prefixBits:
		return ErrPrefixLength
	case !IsTeredo(addr): // RFC 4380 §6 sketches a tunnel mode with other prefixes, which was never specified
		return ErrPrefixRange
	}
	ra.Prefix = netip.PrefixFrom(addr, prefixBits).Masked()
	return nil
}

// checkRouterMessage makes the checks that RFC 4861 §6.1.1 and §6.1.2 share.
func checkRouterMessage(ipv6 []byte, typ uint8, minLen int) error {
	if err := checkICMPv6(ipv6, minLen); err != nil {
		return err
	}
	switch {
	case ipv6[HeaderLen] != typ:
		return ErrICMPv6Type
	case HopLimit(ipv6) != DefaultHopLimit:
		return ErrHopLimit
	case !Source(ipv6).IsLinkLocalUnicast():
		return ErrNotLinkLocal
	}
	return nil
}

// nextOption splits the first neighbor discovery option off b. Its length field counts units of 8 bytes.
func nextOption(b []byte) (option, rest []byte, err error) {
	if len(b) < 2 || b[1] == 0 || len(b) < int(b[1])*8 {
		return nil, nil, ErrOptionLength
	}
	size := int(b[1]) * 8
	return b[:size], b[size:], nil
}
