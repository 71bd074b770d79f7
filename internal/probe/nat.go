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

	EndpointIndependent    = qualify.EndpointIndependent
	AddressOrPortDependent = qualify.AddressOrPortDependent
	Symmetric              = "symmetric" // a mapping for each address, or for each address and port

	Preserved  = "preserved"
	Sequential = "sequential"
	Random     = "random"
)

// NAT is the behaviour of all NATs on the way together.
type NAT struct {
	Kind        Kind           `json:"kind"`                           // empty when the mapping is unknown
	Mapping     string         `json:"mapping"`                        // none, endpoint-independent, symmetric, unknown
	Filtering   string         `json:"filtering"`                      // endpoint-independent, address-or-port-dependent, unknown
	Ports       string         `json:"ports"`                          // preserved, sequential, random, unknown
	Preserving  bool           `json:"port_preserving"`                // the mapped port is the local one
	Hairpinning string         `json:"hairpinning"`                    // yes, no, unknown
	PortMapping string         `json:"port_mapping,omitempty"`         // upnp, pcp, nat-pmp, none; absent when no gateway was asked
	External    netip.AddrPort `json:"port_mapping_external,omitzero"` // endpoint that the gateway mapped
}

// natOf returns what mappings tell. They must be in the order in which the NAT made them.
func natOf(mappings []Mapping) NAT {
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

// mappingBehaviour compares the mappings of each port that different addresses see (RFC 4380 §5.2.1).
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

// preserves reports whether the first mapping of most ports has the local port (RFC 6081 §5.4.3). One
// port may have been in use already.
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

// isSequential reports whether most mapped ports are close to the one before. It takes three ports to know.
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

// kind returns the kind of NAT of RFC 6081, figure 1. Where the behaviour leaves a choice, it is the less capable kind.
func (n NAT) kind(mapped []netip.Addr) Kind {
	upnp := n.External.IsValid() && slices.Contains(mapped, n.External.Addr()) // else another NAT follows (RFC 6081 §5.3.3)
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
