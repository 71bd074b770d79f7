package peer

import (
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
)

// served says which native IPv6 addresses a relay serves. It does not change once workers see it.
type served struct {
	only    []prefix // nil: every one, but for own
	own     []key    // addresses of the relay's host
	natives teredo.NativePrefixes
	filter  teredo.Filter
}

// prefix is an IPv6 prefix.
type prefix struct{ key, mask key }

func newServed(prefixes []netip.Prefix, own []netip.Addr, natives teredo.NativePrefixes) *served {
	s := &served{natives: natives, filter: teredo.Filter{Permit: slices.Clone(prefixes)}}
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

// takesFrom reports whether packets of the native address go to clients. Those of the relay's host always do, as the ICMPv6
// errors that it sends as a router are among them.
func (s *served) takesFrom(k key) bool {
	return (s.only == nil || s.named(k) || slices.Contains(s.own, k)) && s.filter.Native(k.addr())
}

// deliversTo reports whether packets of clients go to the native address. To the relay's host they go only where it is named:
// what listens there is not meant for everybody who can reach the relay.
func (s *served) deliversTo(k key) bool {
	if s.isClients(k) {
		return true // it turns back
	}
	if s.only == nil && slices.Contains(s.own, k) || s.only != nil && !s.named(k) {
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
