package teredo

import "errors"

// Rules of the UDP payload (RFC 4380 §5.1.1, RFC 6081 §4) that Packet.Parse enforces.
var (
	ErrNotTeredo       = errors.New("payload is neither an encapsulation nor an IPv6 packet")
	ErrAuthTruncated   = errors.New("authentication encapsulation runs past the end of the payload")
	ErrAuthOrder       = errors.New("authentication encapsulation is repeated or follows the origin indication")
	ErrOriginTruncated = errors.New("origin indication runs past the end of the payload")
	ErrOriginRepeated  = errors.New("origin indication is repeated")
	ErrIPv6Truncated   = errors.New("IPv6 packet runs past the end of the payload")
)

// Rules of a lone IPv6 packet that CheckIPv6 enforces.
var (
	ErrIPv6Header  = errors.New("packet is shorter than an IPv6 header")
	ErrIPv6Version = errors.New("packet is not IP version 6")
	ErrIPv6Length  = errors.New("packet size differs from its IPv6 payload length")
)

// Rules of ICMPv6 messages (RFC 4443 §2, RFC 4861 §6.1.1, §6.1.2 and §7.1.1).
var (
	ErrNotICMPv6      = errors.New("next header is not ICMPv6")
	ErrICMPv6Short    = errors.New("ICMPv6 message is shorter than its type requires")
	ErrICMPv6Type     = errors.New("ICMPv6 message has another type")
	ErrICMPv6Code     = errors.New("ICMPv6 code is not 0")
	ErrICMPv6Checksum = errors.New("ICMPv6 checksum is wrong")
	ErrHopLimit       = errors.New("hop limit is not 255")
	ErrNotLinkLocal   = errors.New("source address is not link-local")
	ErrNotAllRouters  = errors.New("destination address is not ff02::2")
	ErrOptionLength   = errors.New("neighbor discovery option has a wrong length")
	ErrTarget         = errors.New("target of the neighbor solicitation is a multicast address")
	ErrAddressTest    = errors.New("neighbor solicitation from the unspecified address has another form than RFC 4861 §7.1.1 allows")
)

// Rules of the prefix in a Teredo router advertisement (RFC 4380 §5.2.1).
var (
	ErrPrefixCount  = errors.New("router advertisement does not have exactly one prefix")
	ErrPrefixLength = errors.New("advertised prefix length is not 64")
	ErrPrefixRange  = errors.New("advertised prefix is not in 2001::/32")
)
