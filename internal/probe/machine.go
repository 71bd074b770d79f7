package probe

import (
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// machine asks all servers. The caller passes the time and what has arrived, sends what is in out, and calls tick when the
// deadline has come.
type machine struct {
	timeout time.Duration
	targets []*target
	asks    []*ask // all of them, in the order of their ports
	ports   int
	hairpin hairpin

	began   time.Time
	order   int
	scratch teredo.Outbox
	out     []datagram
}

// datagram is one to send from a port.
type datagram struct {
	port    int
	to      netip.AddrPort
	payload []byte
}

// newMachine makes a machine. It needs as many UDP ports as its field ports says.
func newMachine(cfg Config) *machine {
	m := &machine{timeout: cfg.Timeout, ports: mappingPorts, hairpin: hairpin{rand: cfg.Rand}}
	for _, s := range cfg.Servers {
		m.targets = append(m.targets, newTarget(&cfg, s, m.targets))
	}
	for _, t := range m.usable() {
		if t.secondary.IsValid() { // an address that could answer in place of the one that is asked
			m.ports += filterPorts
		}
	}
	return m
}

func (m *machine) usable() []*target {
	return slices.DeleteFunc(slices.Clone(m.targets), func(t *target) bool { return t.Err != nil })
}

// start sends all questions. locals are the numbers of the UDP ports. The mapping ports ask one after the other, so that the
// order in which the NAT made the mappings is known.
func (m *machine) start(now time.Time, cfg *Config, locals []uint16) error {
	m.began = now
	for port := range mappingPorts {
		for _, t := range m.usable() {
			a, err := m.ask(now, cfg, t, port, locals[port])
			if err != nil {
				return err
			}
			t.asks = append(t.asks, a)
		}
	}
	port := mappingPorts
	for _, t := range m.usable() {
		for port := port; t.secondary.IsValid() && len(t.filters) < filterPorts; port++ {
			a, err := m.ask(now, cfg, t, port, locals[port])
			if err != nil {
				return err
			}
			t.filters = append(t.filters, a)
		}
		port += len(t.filters)
	}
	return nil
}

// ask has a port ask a server. Filter ports send to nothing but its primary address.
func (m *machine) ask(now time.Time, cfg *Config, t *target, port int, local uint16) (*ask, error) {
	a := &ask{target: t, port: port, sent: make(map[netip.AddrPort]transmission), mapped: make(map[netip.AddrPort]netip.AddrPort)}
	if addr := cfg.Local(t.Primary); addr.IsValid() {
		a.local = netip.AddrPortFrom(addr, local)
	}
	var err error
	if a.machine, err = newQualifier(cfg, t.Server, a.filters(), a.local); err != nil {
		return nil, err
	}
	m.asks = append(m.asks, a)
	a.machine.Start(now, &m.scratch)
	m.collect(now, a)
	return a, nil
}

// collect takes the datagrams of an ask.
func (m *machine) collect(now time.Time, a *ask) {
	for _, d := range m.scratch.Datagrams() {
		s := a.sent[d.Remote]
		if s.times++; s.times == 1 {
			m.order++
			s.order, s.at = m.order, now
		}
		a.sent[d.Remote] = s
		m.out = append(m.out, datagram{a.port, d.Remote, slices.Clone(d.Payload)})
	}
	m.scratch.Reset()
}

// inbound takes a datagram that came to a port.
func (m *machine) inbound(now time.Time, port int, from netip.AddrPort, payload []byte) {
	if m.hairpin.arrived(port, payload) {
		return
	}
	var p teredo.Packet
	packet := &p
	if p.Parse(payload) != nil || !teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement) {
		packet = nil
	}
	for _, a := range m.asks {
		if a.port == port && a.concerns(from) {
			a.inbound(now, from, packet, &m.scratch)
			m.collect(now, a)
		}
	}
}

// refused notes that the kernel has refused to send to an address.
func (m *machine) refused(to netip.AddrPort, err error) {
	for _, t := range m.targets {
		if t.Err == nil && t.primary == to {
			t.unsendable = err
		}
	}
}

// tick does what is due. It must be called after inbound, too.
func (m *machine) tick(now time.Time) {
	for _, a := range m.asks {
		if a.active() {
			a.machine.Tick(now, &m.scratch)
			m.collect(now, a)
		}
	}
	if quiet := m.quietAt(); !m.hairpin.begun() && !quiet.IsZero() && !now.Before(quiet) {
		m.hairpin.begin(now, m.targets)
	}
	m.out = append(m.out, m.hairpin.tick(now)...)
}

// quietAt returns when the mappings are known, or no more are expected; zero before the first answer. The hairpinning test begins
// then, as its mappings would disturb the order in which the NAT chooses ports.
func (m *machine) quietAt() (at time.Time) {
	complete := true
	for _, t := range m.usable() {
		complete = complete && t.answeredBy(t.primary) && (!t.secondary.IsValid() || t.answeredBy(t.secondary))
		if t.works() && (at.IsZero() || t.first.Before(at)) {
			at = t.first
		}
	}
	if at.IsZero() || complete {
		return at
	}
	return at.Add(m.grace())
}

// grace returns how long to wait in this network for what may not come.
func (m *machine) grace() time.Duration {
	longest := time.Duration(0)
	for _, t := range m.targets {
		for _, rtt := range t.rtts {
			longest = max(longest, rtt)
		}
	}
	return max(grace, 3*longest)
}
