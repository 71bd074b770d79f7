package qualify

import (
	"fmt"
	"net/netip"
	"time"
)

// State is the Teredo connectivity status (RFC 4380 §5.2.1).
type State uint8

const (
	Initial   State = iota // not started
	Starting               // waits for router advertisements
	Qualified              // has a Teredo address
	Offline                // failed, and tries again later
)

func (s State) String() string {
	switch s {
	case Initial:
		return "initial"
	case Starting:
		return "starting"
	case Qualified:
		return "qualified"
	case Offline:
		return "offline"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// NAT is the kind of NAT between the client and its server, as far as Teredo tells kinds apart.
type NAT uint8

const (
	Unknown    NAT = iota // not tested, or not since the mapping changed
	None                  // the server sees the client's own address and port
	Restricted            // one mapping for all destinations; whether it filters by port does not matter
	Symmetric             // a mapping for each destination
	Cone                  // one mapping for all, and it lets in whoever sends to it; only the cone phase tells
)

func (n NAT) String() string {
	switch n {
	case Unknown:
		return "unknown"
	case None:
		return "none"
	case Restricted:
		return "restricted"
	case Symmetric:
		return "symmetric"
	case Cone:
		return "cone"
	}
	return fmt.Sprintf("nat(%d)", uint8(n))
}

// SecondAddress is what the server's secondary address has told about the present mapping.
type SecondAddress uint8

const (
	NotAsked SecondAddress = iota // or its answer is waited for
	Answers                       // it has answered
	Silent                        // it has not, or there is no server
)

// Status is what a person or a program may want to know about the machine.
type Status struct {
	State       State
	NAT         NAT
	Sequential  Verdict        // the NAT gives out ports one after the other; not known unless it is symmetric
	Address     netip.Addr     // the Teredo address; the zero Addr unless qualified
	Secondary   netip.AddrPort // the server's other address, where the NAT is tested; invalid when there is none
	Second      SecondAddress  // what came of that test
	SilentSince time.Time      // when a server that has served ceased to answer; zero: it answers
	Mapped      netip.AddrPort // as the primary server saw it last; invalid when not known
	LastError   string         // why it is not qualified, or what a silent server means, and what helps; else empty
	Refused     Refusal        // the latest router advertisement that was refused
	LastHeard   time.Time      // last packet from the primary server; zero when there was none
	RTT         time.Duration  // of the last exchange answered at its first attempt; 0 when there was none
	Attempt     string         // what it waits for; empty when it waits for nothing
}

// Status returns the status at the time now, which the countdown in Attempt needs.
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
	}
	if m.nat == Symmetric {
		s.Sequential = m.sequential
	}
	return s
}

// lastError joins the failure of the last run with what was refused since.
func (m *Machine) lastError() string {
	switch {
	case m.state == Qualified && m.silent():
		return m.noAnswer(fmt.Sprintf("server %v has stopped answering", m.primary),
			"the address and the paths that work stay; new ones wait for the server")
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
		return fmt.Sprintf("router advertisement from %v (attempt %d of %d)", x.server, x.attempt, attempts)
	}
	return ""
}
