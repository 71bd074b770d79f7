package qualify

import (
	"fmt"
	"net/netip"
	"time"
)

// State is the Teredo connectivity status (RFC 4380 §5.2.1).
type State uint8

const (
	Initial   State = iota // before Start
	Starting               // qualification is under way
	Qualified              // has a Teredo address
	Offline                // qualification has failed and is tried again later
)

func (s State) String() string {
	return word(s, "state", "initial", "starting", "qualified", "offline")
}

// NAT is the kind of NAT between the client and its server, as far as Teredo distinguishes them.
type NAT uint8

const (
	Unknown    NAT = iota // not tested, or not since the mapping changed
	None                  // the server sees the client's own address and port
	Restricted            // one mapping for all destinations; whether it filters by port does not matter
	Symmetric             // a mapping for each destination
	Cone                  // one mapping for all destinations, which lets packets from all hosts in; only the cone phase tells
)

func (n NAT) String() string {
	return word(n, "nat", "unknown", "none", "restricted", "symmetric", "cone")
}

// The behaviours of a NAT, in the terms of RFC 4787 §4.1 (mapping) and §5 (filtering).
const (
	EndpointIndependent    = "endpoint-independent"
	AddressOrPortDependent = "address-or-port-dependent" // filtering; the two addresses of a server cannot tell these apart
)

// Behaviour returns what the kind of the NAT means: its mapping behaviour, which is "none", EndpointIndependent, "symmetric" or
// "unknown", and its filtering behaviour, which is EndpointIndependent or "unknown".
func (n NAT) Behaviour() (mapping, filtering string) {
	unknown := Unknown.String()
	switch n {
	case None, Symmetric:
		return n.String(), unknown // without a NAT there may be a firewall
	case Restricted:
		return EndpointIndependent, unknown // it may be a cone NAT, too: only the cone phase tells
	case Cone:
		return EndpointIndependent, EndpointIndependent
	}
	return unknown, unknown
}

// Tristate is the result of a test that may be missing.
type Tristate uint8

const (
	NotKnown Tristate = iota
	Yes
	No
)

func (t Tristate) String() string {
	return word(t, "tristate", "unknown", "yes", "no")
}

// word returns the name of a value, of which there are as many as there are names.
func word[T ~uint8](value T, kind string, names ...string) string {
	if int(value) < len(names) {
		return names[value]
	}
	return fmt.Sprintf("%s(%d)", kind, uint8(value))
}

// SecondAddress is the state of the test of the present mapping with the server's secondary address.
type SecondAddress uint8

const (
	NotAsked SecondAddress = iota // or not answered yet
	Answers                       // it has answered
	Silent                        // it has not answered, or there is no server
)

// Status is the state of a Machine for people and programs.
type Status struct {
	State       State
	NAT         NAT
	Sequential  Tristate       // the NAT assigns ports in sequence; NotKnown unless it is symmetric
	Address     netip.Addr     // the Teredo address; the zero Addr unless qualified
	Native      netip.Addr     // the native address; the zero Addr unless qualified, and unless the server has told its prefix
	NativeAsked bool           // Native is as it stays: the server was asked for its prefix, and has answered or not; or it is not to be asked
	Secondary   netip.AddrPort // the server's other address, where the NAT is tested; invalid when there is none
	Second      SecondAddress  // the state of that test
	SilentSince time.Time      // since when a server that had answered does not; zero: it answers
	Mapped      netip.AddrPort // the mapped address and port that the primary server saw last; invalid when not known
	LastError   string         // why it is not qualified or the server is silent, and what to do; empty otherwise
	Refused     Refusal        // the latest router advertisement that was refused
	LastHeard   time.Time      // last packet from the primary server; zero when there was none
	RTT         time.Duration  // of the last exchange answered at its first attempt; 0 when there was none
	Attempt     string         // what it waits for; empty when it waits for nothing
}

// Status returns the status. It needs the time for the countdown in Attempt.
func (m *Machine) Status(now time.Time) Status {
	s := m.Facts()
	s.LastError, s.Attempt = m.lastError(), m.attempt(now)
	return s
}

// Facts returns the status without its words, LastError and Attempt.
func (m *Machine) Facts() Status {
	s := Status{
		State: m.state, NAT: m.nat, Mapped: m.mapped, Secondary: m.secondary, Second: m.second, SilentSince: m.silentSince,
		Refused: m.refused, LastHeard: m.heard, RTT: m.rtt,
	}
	if m.state == Qualified {
		s.Address = m.address.Addr()
		s.NativeAsked = m.questions > 0 || !m.wondersNative()
		s.Native, _ = m.natives.Native(s.Address)
	}
	if m.nat == Symmetric {
		s.Sequential = m.sequential
	}
	return s
}

// lastError joins the failure of the last qualification with what was refused since.
func (m *Machine) lastError() string {
	switch {
	case m.state == Qualified && m.silent():
		return m.noAnswer(fmt.Sprintf("server %v has stopped answering", m.primary),
			"the address and working paths stay; new paths wait for the server")
	case m.state == Qualified:
		return ""
	case m.refusal.Err == nil:
		return m.failure
	case m.failure == "":
		return m.refusal.String()
	}
	return m.failure + "; " + m.refusal.String()
}

func (m *Machine) attempt(now time.Time) string {
	x := &m.exchange
	switch {
	case m.state == Offline:
		wait := max(0, m.wake.Sub(now)+time.Second-1)
		return fmt.Sprintf("next attempt in %v", wait.Truncate(time.Second))
	case x.waiting() && x.cone:
		return fmt.Sprintf("router advertisement from another address of %v (cone bit 1, attempt %d of %d)", x.server, x.attempt, attempts)
	case x.waiting():
		return fmt.Sprintf("router advertisement from %v (attempt %d of %d)", x.server, x.attempt, m.attempts())
	}
	return ""
}
