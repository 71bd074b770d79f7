package probe

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// target is a server that is asked from several ports.
type target struct {
	Server
	primary, secondary netip.AddrPort // the latter is invalid when there is none to ask
	asks               []*ask         // one for each mapping port
	filters            []*ask         // one for each filter port

	first, second time.Time       // when each address answered first; zero: not yet
	rtts          []time.Duration // to the primary address
	noise         int             // datagrams from it that were not router advertisements
	refused       error           // why the latest router advertisement from it was refused
	unsendable    error           // why the kernel does not send to it
	letIn         bool            // an answer from an address that was not sent to got in
}

// ask is the qualification of one port with one server, without the maintenance that follows in a client.
type ask struct {
	target  *target
	port    int
	local   netip.AddrPort // invalid when not known
	machine *qualify.Machine
	sent    map[netip.AddrPort]transmission
	mapped  map[netip.AddrPort]netip.AddrPort // the port's mapping that each address of the server has seen
}

// transmission is a datagram to one address, sent once or several times.
type transmission struct {
	order int // among the first transmissions of all
	at    time.Time
	times int
}

// newTarget makes a target with its asks. Its Err says why nothing can be asked.
func newTarget(cfg *Config, s Server, others []*target) *target {
	t := &target{Server: s}
	if t.Err != nil {
		return t
	}
	for _, other := range others {
		if other.Err == nil && other.Primary == s.Primary {
			t.Err = fmt.Errorf("%v is also the address of %s", s.Primary, other.Name)
			return t
		}
	}
	m, err := newQualifier(cfg, s, false, netip.AddrPort{})
	if err != nil {
		t.Err = err
		return t
	}
	t.primary, t.secondary = netip.AddrPortFrom(s.Primary, teredo.Port), m.Status(time.Time{}).Secondary
	return t
}

// newQualifier makes the Machine of a client. A client can use the server behind a symmetric NAT, too (RFC 6081 §5.2).
func newQualifier(cfg *Config, s Server, cone bool, local netip.AddrPort) (*qualify.Machine, error) {
	return qualify.New(qualify.Config{
		Server: s.Primary, Server2: s.Secondary, Filter: cfg.Filter, Rand: cfg.Rand,
		Local: func() netip.AddrPort { return local }, ConePhase: cone, SymmetricNAT: true,
	})
}

// Check returns an error when the addresses of a server are wrong: that of qualify.New.
func Check(s Server, filter teredo.Filter) error {
	_, err := newQualifier(&Config{Filter: filter}, s, false, netip.AddrPort{})
	return err
}

// concerns reports whether a datagram from an address can be an answer. A solicitation with the cone bit 1 is answered from
// another address than it was sent to (RFC 4380 §5.3.2).
func (a *ask) concerns(from netip.AddrPort) bool {
	return from == a.target.primary || from == a.target.secondary || a.filters() && from.Port() == teredo.Port
}

// filters reports whether the ask is one of a filter port.
func (a *ask) filters() bool { return a.port >= mappingPorts }

// inbound takes a datagram. packet is nil when it is not a router advertisement.
func (a *ask) inbound(now time.Time, from netip.AddrPort, packet *teredo.Packet, out *teredo.Outbox) {
	t := a.target
	if packet == nil {
		if from == t.primary || from == t.secondary {
			t.noise++
		}
		return
	}
	err := a.machine.Inbound(now, from, packet, out)
	switch {
	case err != nil && a.filters(), errors.Is(err, qualify.ErrUnsolicited): // a repetition
	case err != nil:
		t.refused = err
	case a.filters():
		t.letIn = true
	default:
		a.answered(now, from, packet.Origin)
	}
}

// answered notes the mapping that an address of the server told.
func (a *ask) answered(now time.Time, from, mapped netip.AddrPort) {
	t := a.target
	a.mapped[from] = mapped
	if from != t.primary {
		t.second = earlier(t.second, now)
		return
	}
	t.first = earlier(t.first, now)
	if s := a.sent[from]; s.times == 1 { // of several nobody can tell which one was answered
		t.rtts = append(t.rtts, now.Sub(s.at))
	}
}

// earlier keeps the time of the first of several events.
func earlier(was, now time.Time) time.Time {
	if was.IsZero() {
		return now
	}
	return was
}

// active reports whether the Machine has more to ask. A filter port asks nothing but its first question.
func (a *ask) active() bool {
	const attempts = 3 // N of RFC 4380 §5.2.1, as in qualify
	return a.machine.Status(time.Time{}).State == qualify.Starting && !(a.filters() && a.sent[a.target.primary].times == attempts)
}

// answeredBy reports whether every mapping port has an answer from the address.
func (t *target) answeredBy(address netip.AddrPort) bool {
	for _, a := range t.asks {
		if !a.mapped[address].IsValid() {
			return false
		}
	}
	return true
}

// silent reports whether a server that has not answered will not be asked any more.
func (t *target) silent() bool {
	if t.unsendable != nil {
		return true
	}
	for _, a := range t.asks {
		if a.active() {
			return false
		}
	}
	return true
}

// works reports whether a client could use the server.
func (t *target) works() bool { return !t.first.IsZero() }
