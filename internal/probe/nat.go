package probe

import (
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/qualify"
)

// Values of the fields of NAT.
const (
	Unknown = "unknown"
	Yes     = "yes"
	No      = "no"
	None    = "none"

	EndpointIndependent    = "endpoint-independent"      // RFC 4787 §4.1 and §5
	AddressOrPortDependent = "address-or-port-dependent" // which of both, the two addresses of a server cannot tell
	Symmetric              = "symmetric"                 // a mapping for each address, or for each address and port

	Preserved  = "preserved"
	Sequential = "sequential"
	Random     = "random"
)

// NAT is the behaviour of the NATs on the way, as one.
type NAT struct {
	Kind        Kind           `json:"kind"`                           // empty when the mapping is unknown
	Mapping     string         `json:"mapping"`                        // none, endpoint-independent, symmetric, unknown
	Filtering   string         `json:"filtering"`                      // endpoint-independent, address-or-port-dependent, unknown
	Ports       string         `json:"ports"`                          // preserved, sequential, random, unknown
	Preserving  bool           `json:"port_preserving"`                // the mapped port is the local one
	Hairpinning string         `json:"hairpinning"`                    // yes, no, unknown
	PortMapping string         `json:"port_mapping,omitempty"`         // upnp, pcp, nat-pmp, none; absent when nobody asked
	External    netip.AddrPort `json:"port_mapping_external,omitzero"` // what the gateway mapped
}

// judge says what mappings tell, which are in the order in which the NAT made them.
func judge(mappings []Mapping) NAT {
	n := NAT{Mapping: mappingBehaviour(mappings), Ports: Unknown, Filtering: Unknown, Hairpinning: Unknown}
	if len(mappings) == 0 {
		return n
	}
	n.Preserving = preserves(mappings)
	switch sequential, known := isSequential(mappings); {
	case n.Preserving:
		n.Ports = Preserved
	case known && sequential:
		n.Ports = Sequential
	case known:
		n.Ports = Random
	}
	return n
}

// mappingBehaviour compares what different addresses see of each port (C-QUAL-07, X-SNS-01).
func mappingBehaviour(mappings []Mapping) string {
	first := make(map[netip.AddrPort]netip.AddrPort)
	compared, translated := false, false
	for _, m := range mappings {
		translated = translated || m.Mapped != m.Local
		mapped, again := first[m.Local]
		switch {
		case !again:
			first[m.Local] = m.Mapped
		case mapped != m.Mapped:
			return Symmetric
		default:
			compared = true
		}
	}
	switch {
	case len(mappings) == 0 || translated && !compared:
		return Unknown
	case !translated:
		return None
	}
	return EndpointIndependent
}

// preserves reports whether the first mapping of most ports has the local port (X-PP-02). One may have been taken already.
func preserves(mappings []Mapping) bool {
	var seen []netip.AddrPort
	kept := 0
	for _, m := range mappings {
		if slices.Contains(seen, m.Local) {
			continue
		}
		seen = append(seen, m.Local)
		if m.Mapped.Port() == m.Local.Port() {
			kept++
		}
	}
	return 2*kept > len(seen)
}

// isSequential reports whether most mapped ports follow closely upon the one before. Of three ports at least something is known.
func isSequential(mappings []Mapping) (sequential, known bool) {
	var made []netip.AddrPort
	near := 0
	for _, m := range mappings {
		if slices.Contains(made, m.Mapped) {
			continue
		}
		if len(made) > 0 && qualify.Sequential(made[len(made)-1], m.Mapped) {
			near++
		}
		made = append(made, m.Mapped)
	}
	steps := len(made) - 1
	return 3*near >= 2*steps, steps >= 2
}

// kind is the row of RFC 6081, figure 1. Where something cannot be told, it is the less capable kind.
func (n NAT) kind(mapped []netip.Addr) Kind {
	upnp := n.External.IsValid() && slices.Contains(mapped, n.External.Addr()) // no other NAT behind it (X-UPNP-06)
	switch {
	case n.Mapping == Unknown:
		return ""
	case n.Mapping != Symmetric && n.Filtering == EndpointIndependent:
		return Cone
	case n.Mapping != Symmetric && upnp:
		return UPnPPortRestricted
	case n.Mapping != Symmetric:
		return PortRestricted
	case len(mapped) > 1: // RFC 6081 §2
		return AddressSymmetric
	case upnp:
		return UPnPPortSymmetric
	case n.Ports == Preserved:
		return PortPreservingSymmetric
	case n.Ports == Sequential:
		return SequentialPortSymmetric
	}
	return PortSymmetric
}
