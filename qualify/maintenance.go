package qualify

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// This file is the maintenance procedure of RFC 4380 §5.2.5.

// Heard notes that a packet of any kind came from the primary server's address and port (RFC 4380 §5.2.3, date and time of the
// last interaction with the server).
func (m *Machine) Heard(now time.Time) { m.heard = now }

// SetInterval changes the refresh interval from now on. A value out of bounds counts as the bound. Deadline may become
// earlier.
func (m *Machine) SetInterval(interval time.Duration) {
	m.cfg.Interval = min(max(interval, MinInterval), MaxInterval)
	if m.state == Qualified && !m.exchange.waiting() {
		m.period = m.refreshInterval()
		m.wake = m.heard.Add(m.period)
	}
}

// Check asks the server at once whether the mapping still holds, as maintenance does after the refresh interval. Call it after
// events that may have changed the mapping, such as a change of the network; RFC 6081 §5.1.1 allows solicitations at any time.
// A client that is off-line begins a new qualification at once. A test with the secondary address that is under way begins
// again afterwards.
func (m *Machine) Check(now time.Time, out *teredo.Outbox) {
	asking := m.exchange.waiting() && m.exchange.server == m.primary
	switch {
	case m.state == Offline:
		m.Start(now, out)
	case m.state == Qualified && (!asking || m.silent()):
		m.solicit(now, m.primary, out)
	}
}

// checkServerHeard is the regular check of maintenance (RFC 4380 §5.2.5): it solicits when the server was silent for a whole
// randomised refresh interval.
func (m *Machine) checkServerHeard(now time.Time, out *teredo.Outbox) {
	if m.interaction().Add(m.period).After(now) {
		m.await(now, out)
		return
	}
	m.solicit(now, m.primary, out)
}

// await begins a period of maintenance at the time of the last interaction, with a length of its own.
func (m *Machine) await(now time.Time, out *teredo.Outbox) {
	m.period = m.refreshInterval()
	m.wake = m.interaction().Add(m.period)
	if !m.wake.After(now) {
		m.solicit(now, m.primary, out)
	}
}

// interaction is the time when the server had last been both heard and spoken to. Packets that only come in, such as bubbles,
// show that the mapping holds, but many NATs let the server in only for a while after the last packet out to it (RFC 4787
// REQ-6). RFC 6081 §5.1.1 permits the solicitations that this adds.
func (m *Machine) interaction() time.Time {
	if m.asked.Before(m.heard) {
		return m.asked
	}
	return m.heard
}

// refreshed compares the mapping with the one in use. A changed one makes a new address (RFC 4380 §5.2.5). The secondary
// address has not seen that mapping, and the NAT may be another one, so its kind is unknown, unless the answer shows it.
func (m *Machine) refreshed(now time.Time, mapped netip.AddrPort, out *teredo.Outbox) {
	if mapped != m.mapped {
		kind := Unknown
		switch {
		case m.cone:
			kind = Cone
		case m.nat == Symmetric:
			kind = Symmetric // a changed mapping is no sign of another kind
		}
		m.use(mapped, kind)
	}
	m.test(now, out)
}

// checkPaths goes off-line when the server is silent and no path works any more. Until then the address stays, and the
// connections over it: the server has no part in them.
func (m *Machine) checkPaths(now time.Time) {
	switch {
	case !m.silent():
	case m.state == Starting:
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v does not answer", m.primary), m.silenceAdvice()))
	case m.state == Qualified && now.Sub(m.cfg.Reached()) >= pathValidity:
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v has stopped answering", m.primary), m.lossAdvice()))
	}
}

// lossAdvice says what follows from the silence of a server that has answered before.
func (m *Machine) lossAdvice() string {
	if m.secure() {
		return fmt.Sprintf("the Teredo address is withdrawn; perhaps it has another secret for client %q now", m.cfg.ClientID)
	}
	return "the Teredo address is withdrawn"
}
