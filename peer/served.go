package peer

import "net/netip"

// served is the set of native IPv6 addresses that a relay serves. It does not change once workers see it.
type served []prefix

// prefix is an IPv6 prefix.
type prefix struct{ key, mask key }

func newServed(prefixes []netip.Prefix) *served {
	s := make(served, 0, len(prefixes))
	for _, p := range prefixes {
		mask := maskOf(p.Bits())
		k := keyOf(p.Addr())
		s = append(s, prefix{key{k.hi & mask.hi, k.lo & mask.lo}, mask})
	}
	return &s
}

func (s served) contains(k key) bool {
	for _, p := range s {
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
