package qualify

import (
	"fmt"
	"net/netip"
)

// Verdict is what is known about something that a NAT may do.
type Verdict uint8

const (
	NotKnown Verdict = iota
	Yes
	No
)

func (v Verdict) String() string {
	switch v {
	case NotKnown:
		return "unknown"
	case Yes:
		return "yes"
	case No:
		return "no"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Sequential reports whether a NAT that gives out ports one after the other may have made these two mappings, the next soon
// after the first. It usually adds one or two (RFC 6081 §2), and other hosts' mappings come in between. A random port is as
// close once in two thousand times.
func Sequential(first, next netip.AddrPort) bool {
	const closely = 16
	step := int(next.Port()) - int(first.Port())
	return -closely <= step && step <= closely
}

// noteSequence compares the mappings that the primary and then the secondary address saw behind a symmetric NAT. Where the
// first has the local port the NAT did not choose its number; and one that is left from an earlier qualification may be much
// older than the other, so then the earlier verdict stays.
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
