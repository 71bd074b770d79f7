package qualify

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// begin starts the qualification procedure (RFC 4380 §5.2.1). What an earlier run has found out about the NAT is
// forgotten, for the network may be another.
func (m *Machine) begin(now time.Time, out *teredo.Outbox) {
	m.state, m.silentSince = Starting, time.Time{}
	m.nat, m.mapped, m.second = Unknown, netip.AddrPort{}, NotAsked
	m.cone = m.cfg.ConePhase
	m.solicit(now, m.primary, out)
}

// solicit opens a new exchange. Its nonce is fresh, so answers to any earlier exchange are refused (C-QUAL-15).
func (m *Machine) solicit(now time.Time, server netip.AddrPort, out *teredo.Outbox) {
	m.refusal = Refusal{}
	m.exchange = exchange{server: server, cone: m.cone, began: now}
	m.cfg.Rand(m.exchange.nonce[:])
	m.transmit(now, out)
}

// transmit sends the exchange's router solicitation once more.
func (m *Machine) transmit(now time.Time, out *teredo.Outbox) {
	x := &m.exchange
	x.attempt++
	x.sent = now
	if x.server == m.primary {
		m.asked = now
	}
	m.wake = now.Add(timeout)
	if m.silent() {
		m.wake = now.Add(m.patience(now))
	}
	out.Send(x.server, m.appendSolicitation(out.Next()))
}

// linkLocal is the source of the solicitation. It tells nothing about the client. Its cone bit is 0 in qualification
// (RFC 5991 §3.2) and in maintenance, but for the cone phase and those it has qualified.
func (x *exchange) linkLocal() netip.Addr { return teredo.ClientLinkLocal(x.cone, netip.AddrPort{}) }

// answered goes on from a valid advertisement, which ends the exchange.
func (m *Machine) answered(now time.Time, mapped netip.AddrPort, out *teredo.Outbox) {
	if m.exchange.attempt == 1 { // after a repetition nobody can tell which transmission was answered
		m.rtt = now.Sub(m.exchange.sent)
	}
	server := m.exchange.server
	m.exchange = exchange{}
	if server != m.primary {
		m.compare(now, mapped, out)
		return
	}
	m.heard, m.silentSince = now, time.Time{}
	m.newMapping = mapped != m.address.Mapped
	switch {
	case m.state == Qualified:
		m.refreshed(now, mapped, out)
	case m.cone:
		m.qualified(now, mapped, Cone, out)
	case m.secondary.IsValid() && !m.cfg.SymmetricNAT:
		m.mapped = mapped
		m.solicit(now, m.secondary, out)
	default:
		m.qualified(now, mapped, Unknown, out)
	}
}

// compare tells the kind of the NAT by the mapping that the secondary address has seen (C-QUAL-07, C-QUAL-08).
func (m *Machine) compare(now time.Time, mapped netip.AddrPort, out *teredo.Outbox) {
	m.second = Answers
	if mapped != m.mapped {
		m.symmetric(now, mapped, out)
		return
	}
	m.qualified(now, m.mapped, Restricted, out)
}

// unanswered ends an exchange whose N attempts brought no valid advertisement.
func (m *Machine) unanswered(now time.Time, out *teredo.Outbox) {
	x := m.exchange
	m.exchange = exchange{}
	switch {
	case x.server != m.primary && m.state == Starting && !m.guessed: // C-QUAL-06
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v answers, but secondary server %v does not answer", m.primary.Addr(), x.server),
			"correct --server2 or leave it out"))
	case x.server != m.primary: // the kind of the NAT stays unknown, which is no reason to do without IPv6
		m.second = Silent
		m.qualified(now, m.mapped, m.nat, out)
	case m.state == Qualified && m.heard.After(x.began) && m.refusal.From != x.server:
		// Other packets came from the server meanwhile. They were sent to the mapping, so it still holds (C-MNT-01).
		// A refused advertisement is no such sign: it goes to where the solicitation came from, whatever mapping that is.
		m.silentSince = time.Time{}
		m.await(now, out)
	case m.cone && m.state != Qualified: // not behind a cone NAT, or there is no server (C-QUAL-04)
		m.cone = false
		m.solicit(now, m.primary, out)
	case m.served:
		if !m.silent() {
			m.silentSince = x.began
		}
		m.checkPaths(now)
		m.solicit(now, m.primary, out)
	default:
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v does not answer", x.server), m.silenceAdvice()))
	}
}

// checkPaths goes off-line when the server is silent and no path works any more. Until then the address stays, and what is
// in progress with it: the server has no part in that.
func (m *Machine) checkPaths(now time.Time) {
	switch {
	case !m.silent():
	case m.state == Starting:
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v does not answer", m.primary), m.silenceAdvice()))
	case m.state == Qualified && now.Sub(m.cfg.Reached()) >= pathValidity:
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v has stopped answering", m.primary), m.lossAdvice()))
	}
}

// noAnswer words a failed exchange. A server that answers nonsense is reachable, so then the nonsense is the news.
func (m *Machine) noAnswer(what, advice string) string {
	if m.refusal.Err != nil {
		return fmt.Sprintf("%s with a valid router advertisement (%d attempts): %v", what, attempts, m.refusal)
	}
	return fmt.Sprintf("%s (%d attempts); %s", what, attempts, advice)
}

// silenceAdvice says what to look at when the server is silent. Servers drop what they cannot authenticate (S-RX-04), so
// a wrong secret looks like no server at all.
func (m *Machine) silenceAdvice() string {
	if m.secure() {
		return fmt.Sprintf("check that the server has the same secret for client %q, for it drops what it cannot authenticate; "+
			"then its address, and that this network lets UDP out to port 3544", m.cfg.ClientID)
	}
	return "check the server's address, and that this network lets UDP out to port 3544"
}

// lossAdvice says what has come of the silence of a server that has answered before.
func (m *Machine) lossAdvice() string {
	if m.secure() {
		return fmt.Sprintf("the Teredo address is withdrawn; perhaps it has another secret for client %q now", m.cfg.ClientID)
	}
	return "the Teredo address is withdrawn"
}

// symmetric ends qualification behind a NAT whose mappings depend on the destination: without the extension for such NATs
// the service cannot be used (RFC 4380 §5.2.10, C-QUAL-08).
func (m *Machine) symmetric(now time.Time, second netip.AddrPort, out *teredo.Outbox) {
	m.noteSequence(second)
	if m.cfg.SymmetricNAT {
		m.qualified(now, m.mapped, Symmetric, out)
		return
	}
	m.offline(now, fmt.Sprintf("symmetric NAT: %v sees this client as %v, but %v sees it as %v; "+
		"reserve a UDP port for this host in the NAT, often called port forwarding or DMZ, and give it with --port (RFC 4380 §5.2.10)",
		m.primary.Addr(), m.mapped, m.secondary.Addr(), second))
	m.nat = Symmetric
}

// qualified takes the mapping into use. The kind is what the two servers' answers say; that the mapping is the local
// address and port says more.
func (m *Machine) qualified(now time.Time, mapped netip.AddrPort, kind NAT, out *teredo.Outbox) {
	m.state, m.served = Qualified, true
	m.failures, m.failure, m.refusal = 0, "", Refusal{}
	m.use(mapped, kind)
	m.test(now, out)
}

// test asks the secondary address about a mapping that it has not seen, and begins a period of maintenance otherwise.
func (m *Machine) test(now time.Time, out *teredo.Outbox) {
	if m.second == NotAsked && m.secondary.IsValid() && !m.cone {
		m.solicit(now, m.secondary, out)
		return
	}
	m.await(now, out)
}

// refreshed compares the mapping with the one in use (C-MNT-04). A new mapping has not been seen by the secondary address,
// and the NAT may be another one, so its kind is no longer known; unless the answer shows it, as with the cone bit 1.
func (m *Machine) refreshed(now time.Time, mapped netip.AddrPort, out *teredo.Outbox) {
	if mapped != m.mapped {
		kind := Unknown
		switch {
		case m.cone:
			kind = Cone
		case m.nat == Symmetric:
			kind = Symmetric // which mapping it chooses tells nothing else
		}
		m.use(mapped, kind)
	}
	m.test(now, out)
}

// use builds the Teredo address of the mapping. Its random bits are kept as long as the mapping is the same (W-ADDR-07);
// the cone bit is that of the solicitation that was answered (C-QUAL-12).
func (m *Machine) use(mapped netip.AddrPort, kind NAT) {
	m.mapped, m.nat = mapped, kind
	if mapped == m.cfg.Local() {
		m.nat = None
	}
	if mapped != m.address.Mapped || m.cone != (m.address.Flags&teredo.FlagCone != 0) {
		m.address = teredo.Address{Server: m.cfg.Server, Flags: m.flags(), Mapped: mapped}
	}
}

// offline withdraws the address and waits for the next qualification.
func (m *Machine) offline(now time.Time, why string) {
	if m.state == Qualified {
		m.nat, m.mapped, m.second = Unknown, netip.AddrPort{}, NotAsked
	}
	m.state = Offline
	m.failure, m.refusal = why, Refusal{}
	m.wake = now.Add(m.backoff())
	m.failures++
}

// checkServerHeard is the regular check of maintenance (RFC 4380 §5.2.5, C-MNT-01): it solicits when the server was silent for a whole
// randomised refresh interval.
func (m *Machine) checkServerHeard(now time.Time, out *teredo.Outbox) {
	if m.interaction().Add(m.period).After(now) {
		m.await(now, out)
		return
	}
	m.solicit(now, m.primary, out)
}

// await begins a period of maintenance at the time the server was last heard, with a length of its own.
func (m *Machine) await(now time.Time, out *teredo.Outbox) {
	m.period = m.refreshInterval()
	m.wake = m.interaction().Add(m.period)
	if !m.wake.After(now) {
		m.solicit(now, m.primary, out)
	}
}

// interaction is when the server was last both heard and spoken to. Packets that only come in, bubbles for instance, are a
// sign that the mapping holds, but many NATs let the server in only for a while after the last packet out to it (RFC 4787
// REQ-6). The solicitations that this adds are those that RFC 6081 §5.1.1 permits.
func (m *Machine) interaction() time.Time {
	if m.asked.Before(m.heard) {
		return m.asked
	}
	return m.heard
}
