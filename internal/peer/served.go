package peer

import (
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
)

// served says which native IPv6 addresses a relay serves. It does not change once workers see it.
type served struct {
	only   []prefix // nil: every one, but for own
	own    []key    // addresses of the relay's host
	filter teredo.Filter
}

// prefix is an IPv6 prefix.
type prefix struct{ key, mask key }

func newServed(prefixes []netip.Prefix, own []netip.Addr) *served {
	s := &served{filter: teredo.Filter{Permit: slices.Clone(prefixes)}}
	if prefixes != nil {
		s.only = []prefix{}
	}
	for _, p := range prefixes {
		mask := maskOf(p.Bits())
		k := keyOf(p.Addr())
		s.only = append(s.only, prefix{key{k.hi & mask.hi, k.lo & mask.lo}, mask})
	}
	for _, a := range own {
		s.own = append(s.own, keyOf(a))
	}
	return s
}

// has reports whether the relay carries packets of a native address the way. To its own host they go only where that is named:
// what listens there is not meant for everybody who can reach the relay. From its own host they always go, as the ICMPv6 errors
// that it sends as a router are among them.
func (s *served) has(k key, way direction) bool {
	switch {
	case s.only == nil && (way == outgoing || !slices.Contains(s.own, k)):
	case s.named(k), way == outgoing && slices.Contains(s.own, k):
	default:
		return false
	}
	return s.filter.Native(k.addr())
}

func (s *served) named(k key) bool {
	for _, p := range s.only {
		if k.hi&p.mask.hi == p.key.hi && k.lo&p.mask.lo == p.key.lo {
			return true
		}
	}
	return false
}

// maskOf has the given number of leading ones. Shifts by 64 and more leave nothing.
func maskOf(bits int) key {
	return key{^uint64(0) << max(0, 64-bits), ^uint64(0) << (128 - max(bits, 64))}
}
