package qualify

import "net/netip"

// Sequential reports whether a NAT that assigns ports in sequence (RFC 6081 §2, sequential port-symmetric) may have made these
// two mappings, the next soon after the first. Such a NAT usually adds one or two, and mappings of other hosts come in between,
// so up to 16 ports of distance count. Ports chosen at random are as close once in two thousand times.
func Sequential(first, next netip.AddrPort) bool {
	const closely = 16
	step := int(next.Port()) - int(first.Port())
	return -closely <= step && step <= closely
}

// noteSequence compares the mappings that the primary and then the secondary address saw behind a symmetric NAT. When the
// first has the number of the local port, the NAT did not choose it, so nothing is known. When the first is older than this
// qualification, other mappings may have come in between, so the earlier result stays.
func (m *Machine) noteSequence(second netip.AddrPort) {
	switch {
	case !m.newMapping:
	case m.mapped.Port() == m.cfg.Local().Port():
		m.sequential = NotKnown
	case Sequential(m.mapped, second):
		m.sequential = Yes
	default:
		m.sequential = No
	}
}
