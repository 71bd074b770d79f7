package natsim

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/mapport"
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
	Addresses int           // outside; each new mapping takes the next of them. 0 means 1
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

// PortPreserving is Symmetric, and keeps the number of the inside port for the first endpoint that is sent to.
func PortPreserving() NATConfig {
	cfg := Symmetric()
	cfg.Ports = PreservePorts
	return cfg
}

// Sequential is Symmetric with one port after the other.
func Sequential() NATConfig {
	cfg := Symmetric()
	cfg.Ports = SequentialPorts
	return cfg
}

// AddressSymmetric is Symmetric with another address, too, for each endpoint that the inside endpoint sends to.
func AddressSymmetric() NATConfig {
	cfg := Symmetric()
	cfg.Addresses = 32
	return cfg
}

// defaultLifetime is what RFC 4787 REQ-5 recommends at least.
const defaultLifetime = 5 * time.Minute

// NAT is a NAT. Its Network is the inside.
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
	made     int                   // mappings; the next one's address follows from it
}

type mappingKey struct{ inside, remote netip.AddrPort }

// mapping is an outside port that belongs to an inside endpoint.
type mapping struct {
	key     mappingKey
	address int // which of the outside addresses
	port    uint16
	used    time.Time      // the last outbound packet
	static  bool           // asked for: lasts for ever, and lets everything in
	granted bool           // static, by PortMap
	first   netip.AddrPort // what the mapping behaviour keeps of where the first packet of a granted one went
}

// session is a mapping together with what the filtering behaviour keeps of a remote endpoint.
type session struct {
	mapping *mapping
	remote  netip.AddrPort
}

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
		for range cfg.Addresses - 1 {
			nat.outside.addrs = append(nat.outside.addrs, n.giveOut())
		}
	})
	return nat
}

// Addr is the NAT's outside address, the first one if it has several.
func (nat *NAT) Addr() (addr netip.Addr) {
	nat.in.do(func() { addr = nat.outside.addrs[0] })
	return addr
}

// SetLink changes the link outside.
func (nat *NAT) SetLink(l Link) { nat.in.do(func() { nat.outside.link = l }) }

// Rebind forgets all mappings, as a NAT does that was switched off and on. Static ones stay.
func (nat *NAT) Rebind() { nat.in.do(nat.forget) }

// Renumber gives the NAT other outside addresses, and forgets all mappings.
func (nat *NAT) Renumber() {
	nat.in.do(func() {
		for i := range nat.outside.addrs {
			nat.outside.addrs[i] = nat.outside.net.giveOut()
		}
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

// PortMap is what UPnP-IGD or PCP do for a client: it reserves the outside port with the number of the local one, until ctx
// ends. All that is sent there reaches the local endpoint. What that sends leaves from there too, unless the NAT has another
// mapping for each destination: then only what goes to the first one does (RFC 6081 §3.2). A port that is taken is refused.
func (nat *NAT) PortMap(ctx context.Context, r mapport.Request) {
	m := &mapping{key: mappingKey{inside: r.Local}, port: r.Local.Port(), static: true, granted: true}
	taken := false
	nat.in.do(func() {
		if other := nat.byPort[m.port]; other != nil && nat.alive(other) {
			taken = true
			return
		}
		nat.mappings[m.key], nat.byPort[m.port] = m, m
	})
	if taken {
		r.Changed(netip.AddrPort{}, "")
		return
	}
	r.Changed(netip.AddrPortFrom(nat.Addr(), m.port), "upnp")
	<-ctx.Done()
	nat.in.do(func() { nat.remove(m) })
}

// forget drops all mappings and permissions but those that were asked for.
func (nat *NAT) forget() {
	old := nat.byPort
	nat.mappings, nat.byPort, nat.sent = make(map[mappingKey]*mapping), make(map[uint16]*mapping), make(map[session]time.Time)
	for port, m := range old {
		if m.static {
			m.first = netip.AddrPort{}
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
	nat.sent[session{m, nat.cfg.Filtering.of(p.Dst)}] = m.used
	p.Src = netip.AddrPortFrom(nat.outside.addrs[m.address], m.port)
	if slices.Contains(nat.outside.addrs, p.Dst.Addr()) {
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
	case m == nil || !nat.alive(m) || nat.outside.addrs[m.address] != p.Dst.Addr():
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

// permits is the filter: it lets in what comes from where the inside endpoint has sent to by this mapping.
func (nat *NAT) permits(m *mapping, remote netip.AddrPort) bool {
	if m.static || nat.cfg.Filtering == EndpointIndependent {
		return true
	}
	at, ok := nat.sent[session{m, nat.cfg.Filtering.of(remote)}]
	return ok && time.Since(at) < nat.cfg.Lifetime
}

func (nat *NAT) drop(why string, p Packet) { nat.in.trace.add(nat.name, Dropped, why, p) }
