// Package announce decides whether a service is announced to other routers, and when one that drains may stop. It is told the time,
// and does no I/O.
package announce

import "time"

// Reason says why a service is not announced.
type Reason string

// Reasons. The empty one means that the service is announced.
const (
	Starting  Reason = "starting"
	Draining  Reason = "draining"
	Budgets   Reason = "overload-budgets"   // what strangers may cause has run out
	Peers     Reason = "overload-peers"     // peers that are in use make room for others
	Processor Reason = "overload-processor" // packets for new peers come faster than they are looked at
)

// Reasons are all of them.
func Reasons() []Reason { return []Reason{Starting, Draining, Budgets, Peers, Processor} }

// Load is what a service has counted since it started.
type Load struct {
	Served uint64 // packets of those whom it serves

	// What it had to refuse, by the reason that this is when there is much of it.
	Budgets, Peers, Processor uint64
}

// Machine is the announcement of one service. It is not announced until Ready. One goroutine at a time may use it.
type Machine struct {
	idle, limit time.Duration
	ready       bool
	draining    time.Time // since then; zero: it is not
	served      time.Time // when somebody was served last, at the latest
	load        Load
	at          time.Time // when load was true; zero: never
	overload    Overload
}

// New makes a machine for a service that stops when it drains and has served nobody for the time idle, or when it has drained for the
// time limit.
func New(idle, limit time.Duration) *Machine { return &Machine{idle: idle, limit: limit} }

// Ready says that the service serves from now on.
func (m *Machine) Ready() { m.ready = true }

// Overload is what the machine knows of overloads.
func (m *Machine) Overload() Overload { return m.overload }

// Resume goes on with what the machine of the process before knew. Call it before Ready.
func (m *Machine) Resume(o Overload) { m.overload = o }

// Drain begins to drain, unless that has begun.
func (m *Machine) Drain(now time.Time) {
	if m.draining.IsZero() {
		m.draining, m.served = now, now
	}
}

// Observe tells the load. Call it about once a second.
func (m *Machine) Observe(now time.Time, load Load) {
	if load.Served != m.load.Served {
		m.served = now
	}
	if elapsed := now.Sub(m.at); !m.at.IsZero() && elapsed > 0 {
		m.overload.observe(now, elapsed, m.load, load)
	}
	m.load, m.at = load, now
}

// Withdrawn is the reason why the service is not announced; empty: it is.
func (m *Machine) Withdrawn() Reason {
	switch {
	case !m.draining.IsZero():
		return Draining
	case !m.ready:
		return Starting
	}
	return m.overload.Withdrawn
}

// Drained reports whether the service has drained, and may stop.
func (m *Machine) Drained(now time.Time) bool {
	return !m.draining.IsZero() && (m.unused() >= m.idle || now.Sub(m.draining) >= m.limit)
}

// unused is for how long nobody was served while the service drains, as far as is known.
func (m *Machine) unused() time.Duration { return max(m.at.Sub(m.served), 0) }

// Status describes an announcement. Embed it in the status of a program.
type Status struct {
	Announced        bool    `json:"announced"`                    // packets are invited
	WithdrawnReason  Reason  `json:"withdrawn_reason,omitempty"`   // why they are not: starting, draining, overload-budgets, overload-peers, overload-processor
	DrainLeftSeconds float64 `json:"drain_left_seconds,omitempty"` // until the program stops in any case
	DrainIdleSeconds float64 `json:"drain_idle_seconds,omitempty"` // for so long nobody has come
}

// Unannounced is the status of a program that is being started.
func Unannounced() Status { return Status{WithdrawnReason: Starting} }

// Invites reports whether packets are invited.
func (s Status) Invites() bool { return s.Announced }

// Status describes the announcement now.
func (m *Machine) Status(now time.Time) Status {
	why := m.Withdrawn()
	s := Status{Announced: why == "", WithdrawnReason: why}
	if why == Draining {
		s.DrainLeftSeconds = max(m.limit-now.Sub(m.draining), 0).Seconds()
		s.DrainIdleSeconds = m.unused().Seconds()
	}
	return s
}
