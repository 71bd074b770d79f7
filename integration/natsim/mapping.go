package natsim

import (
	"net/netip"
	"time"
)

// PortAssignment is how a NAT chooses the outside port of a new mapping (RFC 4787 §4.2.1). No port belongs to two mappings.
type PortAssignment uint8

const (
	PreservePorts   PortAssignment = iota // the inside port; the next higher free one when that is taken
	SequentialPorts                       // one after the other
	RandomPorts
)

func (a PortAssignment) String() string {
	switch a {
	case PreservePorts:
		return "preserving"
	case SequentialPorts:
		return "sequential"
	}
	return "random"
}

// lowestPort is the lowest one that is assigned without being asked for.
const lowestPort = 1024

// mappingOf returns the mapping for packets from an inside endpoint to a remote one, making it when there is none. It is nil
// when no port is free.
func (nat *NAT) mappingOf(inside, remote netip.AddrPort) *mapping {
	key := mappingKey{inside, nat.cfg.Mapping.of(remote)}
	m := nat.mappings[key]
	if m != nil && !m.static && nat.alive(m) { // one that is in use outlives what is asked for later
		return m
	}
	if m := nat.mappings[mappingKey{inside: inside}]; m != nil && m.static && nat.leavesBy(m, remote) {
		return m
	}
	if m != nil {
		nat.remove(m)
	}
	port, ok := nat.freePort(inside.Port())
	if !ok {
		return nil
	}
	m = &mapping{key: key, address: nat.made % len(nat.outside.addrs), port: port}
	nat.made++
	nat.mappings[key], nat.byPort[port] = m, m
	return m
}

// leavesBy reports whether packets to a remote endpoint leave by the static mapping of their source.
func (nat *NAT) leavesBy(m *mapping, remote netip.AddrPort) bool {
	if !m.granted || nat.cfg.Mapping == EndpointIndependent {
		return true
	}
	to := nat.cfg.Mapping.of(remote)
	if !m.first.IsValid() {
		m.first = to
	}
	return m.first == to
}

func (nat *NAT) alive(m *mapping) bool { return m.static || time.Since(m.used) < nat.cfg.Lifetime }

func (nat *NAT) remove(m *mapping) {
	delete(nat.mappings, m.key)
	delete(nat.byPort, m.port)
}

// freePort chooses a port that no living mapping has.
func (nat *NAT) freePort(inside uint16) (uint16, bool) {
	var candidate uint16
	switch nat.cfg.Ports {
	case PreservePorts:
		candidate = inside
	case SequentialPorts:
		candidate = nat.nextPort
	case RandomPorts:
		candidate = uint16(lowestPort + nat.rand.IntN(1<<16-lowestPort))
	}
	for range 1 << 16 {
		if candidate < lowestPort && candidate != inside {
			candidate = lowestPort
		}
		if m := nat.byPort[candidate]; m == nil || !nat.alive(m) {
			if m != nil {
				nat.remove(m)
			}
			nat.nextPort = candidate + 1
			return candidate, true
		}
		candidate++
	}
	return 0, false
}
