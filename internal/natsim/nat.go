package natsim

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Behavior is what a NAT's decision about an inside endpoint depends on beside that endpoint: which mapping it has
// (RFC 4787 §4.1), or from whom packets are let in to it (§5).
type Behavior uint8

const (
	EndpointIndependent     Behavior = iota
	AddressDependent                 // the outside address
	AddressAndPortDependent          // the outside address and port
)

func (b Behavior) String() string {
	switch b {
	case EndpointIndependent:
		return "endpoint-independent"
	case AddressDependent:
		return "address-dependent"
	}
	return "address-and-port-dependent"
}

// of keeps of an outside endpoint what the behaviour depends on.
func (b Behavior) of(remote netip.AddrPort) netip.AddrPort {
	switch b {
	case EndpointIndependent:
		return netip.AddrPort{}
	case AddressDependent:
		return netip.AddrPortFrom(remote.Addr(), 0)
	}
	return remote
}

// NATConfig says how a NAT behaves, in the terms of RFC 4787.
type NATConfig struct {
	Mapping   Behavior
	Filtering Behavior
	Ports     PortAssignment
	Hairpin   bool          // inside hosts reach each other by their mapped addresses (§6)
	Lifetime  time.Duration // of a mapping and of a filter's permission without outbound packets (§4.3)
	LAN       netip.Prefix  // the inside; the default is 192.168.n.0/24, n NATs away from the public internet
}

// The kinds of NAT by their older names (RFC 3489 §5), which RFC 4380 uses. Ports are random and there is no hairpinning.

// Cone lets in packets from everywhere.
func Cone() NATConfig { return NATConfig{Ports: RandomPorts} }

// Restricted lets in packets from the addresses that the inside endpoint has sent to.
func Restricted() NATConfig { return NATConfig{Ports: RandomPorts, Filtering: AddressDependent} }

// PortRestricted lets in packets from the endpoints that the inside endpoint has sent to.
func PortRestricted() NATConfig {
	return NATConfig{Ports: RandomPorts, Filtering: AddressAndPortDependent}
}

// Symmetric has another mapping for each endpoint that the inside endpoint sends to.
func Symmetric() NATConfig {
	return NATConfig{Ports: RandomPorts, Mapping: AddressAndPortDependent, Filtering: AddressAndPortDependent}
}

// defaultLifetime is what RFC 4787 REQ-5 recommends at least.
const defaultLifetime = 5 * time.Minute

// NAT is a NAT with one outside address. Its Network is the inside.
type NAT struct {
	*Network
	cfg      NATConfig
	outside  *port
	depth    int
	rand     *rand.Rand
	mappings map[mappingKey]*mapping
	byPort   map[uint16]*mapping
	sent     map[session]time.Time // the last outbound packet; what filters let in
	nextPort uint16                // of SequentialPorts
}

type mappingKey struct{ inside, remote netip.AddrPort }

// mapping is an outside port that belongs to an inside endpoint.
type mapping struct {
	key    mappingKey
	port   uint16
	used   time.Time // the last outbound packet
	static bool      // set up by a person: lasts for ever, and lets everything in
}

// session is an inside endpoint together with what the filtering behaviour keeps of a remote one.
type session struct{ inside, remote netip.AddrPort }

// NAT adds a NAT whose outside is in the network. In a LAN it is a NAT behind a NAT.
func (n *Network) NAT(cfg NATConfig) (nat *NAT) {
	n.in.do(func() {
		depth := 1
		if n.gateway != nil {
			depth = n.gateway.depth + 1
		}
		if cfg.Lifetime == 0 {
			cfg.Lifetime = defaultLifetime
		}
		if !cfg.LAN.IsValid() {
			cfg.LAN = netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(depth), 0}), 24)
		}
		nat = &NAT{cfg: cfg, depth: depth}
		nat.outside = n.in.newPort(n.in.called("nat"), n.delay(), nat.inbound)
		nat.rand = rand.New(n.in.source(n.in.id()))
		nat.nextPort = uint16(lowestPort + nat.rand.IntN(1<<14))
		nat.Network = newNetwork(n.in, nat.outside.name, cfg.LAN)
		nat.gateway = nat
		nat.giveOut() // the NAT's own address inside
		nat.forget()
		n.attach(nat.outside)
	})
	return nat
}

// Addr is the NAT's outside address.
func (nat *NAT) Addr() (addr netip.Addr) {
	nat.in.do(func() { addr = nat.outside.addrs[0] })
	return addr
}

// SetLink changes the link outside.
func (nat *NAT) SetLink(l Link) { nat.in.do(func() { nat.outside.link = l }) }

// Rebind forgets all mappings, as a NAT does that was switched off and on. Static ones stay.
func (nat *NAT) Rebind() { nat.in.do(nat.forget) }

// Renumber gives the NAT another outside address, and forgets all mappings.
func (nat *NAT) Renumber() {
	nat.in.do(func() {
		nat.outside.addrs = []netip.Addr{nat.outside.net.giveOut()}
		nat.forget()
	})
}

// Forward reserves an outside port for an inside endpoint (RFC 4380 §5.2.10): all that is sent to the one reaches the other,
// and all that the other sends comes from the one.
func (nat *NAT) Forward(port uint16, inside netip.AddrPort) {
	nat.in.do(func() {
		m := &mapping{key: mappingKey{inside: inside}, port: port, static: true}
		nat.mappings[m.key], nat.byPort[port] = m, m
	})
}

// forget drops all mappings and permissions but those that a person set up.
func (nat *NAT) forget() {
	old := nat.byPort
	nat.mappings, nat.byPort, nat.sent = make(map[mappingKey]*mapping), make(map[uint16]*mapping), make(map[session]time.Time)
	for port, m := range old {
		if m.static {
			nat.mappings[m.key], nat.byPort[port] = m, m
		}
	}
}

// outbound takes a datagram from inside that is not for the LAN.
func (nat *NAT) outbound(p Packet) {
	if p.TTL--; p.TTL == 0 {
		nat.drop("TTL", p)
		return
	}
	m := nat.mappingOf(p.Src, p.Dst)
	if m == nil {
		nat.drop("no port is free", p)
		return
	}
	m.used = time.Now() // RFC 4787 REQ-6
	nat.sent[session{p.Src, nat.cfg.Filtering.of(p.Dst)}] = m.used
	p.Src = netip.AddrPortFrom(nat.outside.addrs[0], m.port)
	if p.Dst.Addr() == nat.outside.addrs[0] {
		nat.hairpin(p)
		return
	}
	nat.in.trace.add(nat.name, Forwarded, "", p)
	nat.outside.net.forward(nat.outside, p)
}

// hairpin turns round what one inside host sends to the mapping of another. It appears to come from the sender's own
// mapping (REQ-9a).
func (nat *NAT) hairpin(p Packet) {
	if !nat.cfg.Hairpin {
		nat.drop("no hairpinning", p)
		return
	}
	nat.inbound(p)
}

// inbound takes a datagram that was sent to the outside address.
func (nat *NAT) inbound(p Packet) {
	if p.TTL--; p.TTL == 0 {
		nat.drop("TTL", p)
		return
	}
	m := nat.byPort[p.Dst.Port()]
	switch {
	case m == nil || !nat.alive(m):
		nat.drop("no mapping", p)
		return
	case !nat.permits(m, p.Src):
		nat.drop("filtered", p)
		return
	}
	p.Dst = m.key.inside
	nat.in.trace.add(nat.name, Forwarded, "", p)
	nat.route(nil, p)
}

// permits is the filter: it lets in what comes from where the inside endpoint has sent to.
func (nat *NAT) permits(m *mapping, remote netip.AddrPort) bool {
	if m.static || nat.cfg.Filtering == EndpointIndependent {
		return true
	}
	at, ok := nat.sent[session{m.key.inside, nat.cfg.Filtering.of(remote)}]
	return ok && time.Since(at) < nat.cfg.Lifetime
}

func (nat *NAT) drop(why string, p Packet) { nat.in.trace.add(nat.name, Dropped, why, p) }
