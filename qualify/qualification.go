package qualify

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// This file is the qualification procedure of RFC 4380 §5.2.1.

// begin starts the procedure. What an earlier run has found out about the NAT is forgotten, as the network may be another.
func (m *Machine) begin(now time.Time, out *teredo.Outbox) {
	m.state, m.silentSince = Starting, time.Time{}
	m.nat, m.mapped, m.second = Unknown, netip.AddrPort{}, NotAsked
	m.questions = 0
	m.cone = m.cfg.ConePhase
	m.solicit(now, m.primary, out)
}

// solicit opens a new exchange. Its nonce is new, so answers to any earlier exchange are refused.
func (m *Machine) solicit(now time.Time, server netip.AddrPort, out *teredo.Outbox) {
	m.refusal = Refusal{}
	m.exchange = exchange{server: server, cone: m.cone, native: m.asksNative(server), began: now}
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

// linkLocal is the source of the solicitation. It tells nothing about the client. The cone bit is 0 (RFC 5991 §3.2), except in
// the cone phase and in the maintenance of clients that the cone phase has qualified (RFC 4380 §5.2.5).
func (x *exchange) linkLocal() netip.Addr { return teredo.ClientLinkLocal(x.cone, netip.AddrPort{}) }

// answered goes on after an accepted advertisement, which ends the exchange.
func (m *Machine) answered(now time.Time, mapped netip.AddrPort, native netip.Prefix, out *teredo.Outbox) {
	if m.exchange.attempt == 1 { // after a repetition nobody can tell which transmission was answered
		m.rtt = now.Sub(m.exchange.sent)
	}
	server := m.exchange.server
	if m.exchange.native {
		m.learnNative(native)
	}
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

// compare tells the kind of the NAT by the mapping that the secondary address has seen: the same one, or another as behind a
// symmetric NAT.
func (m *Machine) compare(now time.Time, mapped netip.AddrPort, out *teredo.Outbox) {
	m.second = Answers
	if mapped != m.mapped {
		m.symmetric(now, mapped, out)
		return
	}
	m.qualified(now, m.mapped, Restricted, out)
}

// symmetric ends qualification behind a NAT whose mappings depend on the destination. The service cannot be used there
// (RFC 4380 §5.2.10); with the symmetric NAT support extension (RFC 6081 §5.2) it can.
func (m *Machine) symmetric(now time.Time, second netip.AddrPort, out *teredo.Outbox) {
	m.noteSequence(second)
	if m.cfg.SymmetricNAT {
		m.qualified(now, m.mapped, Symmetric, out)
		return
	}
	m.offline(now, fmt.Sprintf("symmetric NAT: %v sees this client as %v, but %v sees it as %v; "+
		"reserve a UDP port for this host in the NAT, often called port forwarding or DMZ, and have the client use that port (RFC 4380 §5.2.10)",
		m.primary.Addr(), m.mapped, m.secondary.Addr(), second))
	m.nat = Symmetric
}

// qualified takes the mapping into use. kind is what the answers tell about the NAT; use may know better.
func (m *Machine) qualified(now time.Time, mapped netip.AddrPort, kind NAT, out *teredo.Outbox) {
	m.state, m.served = Qualified, true
	m.failures, m.failure, m.refusal = 0, "", Refusal{}
	m.use(mapped, kind)
	m.test(now, out)
}

// use builds the Teredo address of the mapping. Its random bits stay as long as the mapping is the same (RFC 5991 §3.1). The
// cone bit is that of the solicitation that was answered (RFC 4380 §5.2.1). A mapping that is the local address and port shows
// that there is no NAT.
func (m *Machine) use(mapped netip.AddrPort, kind NAT) {
	m.mapped, m.nat = mapped, kind
	if mapped == m.cfg.Local() {
		m.nat = None
	}
	if mapped != m.address.Mapped || m.cone != (m.address.Flags&teredo.FlagCone != 0) {
		m.address = teredo.Address{Server: m.cfg.Server, Flags: m.flags(), Mapped: mapped}
	}
}

// test asks the primary address for the native prefix, and the secondary address about a mapping that it has not seen. When both are
// known, it begins a period of maintenance. A question for the prefix that gets no answer is repeated after the test of the mapping.
func (m *Machine) test(now time.Time, out *teredo.Outbox) {
	untested := m.second == NotAsked && m.secondary.IsValid() && !m.cone
	switch {
	case m.wondersNative() && (m.questions == 0 || !untested):
		m.solicit(now, m.primary, out)
	case untested:
		m.solicit(now, m.secondary, out)
	default:
		m.await(now, out)
	}
}

// unanswered ends an exchange whose N attempts brought no valid advertisement.
func (m *Machine) unanswered(now time.Time, out *teredo.Outbox) {
	x := m.exchange
	m.exchange = exchange{}
	switch {
	case x.server != m.primary && m.state == Starting && !m.guessed: // §5.2.1 has the client off-line then
		m.offline(now, m.noAnswer(fmt.Sprintf("server %v answers, but secondary server %v does not answer", m.primary.Addr(), x.server),
			"correct the address of the secondary server or leave it out"))
	case x.server != m.primary: // the kind of the NAT stays unknown, which is no reason to do without IPv6
		m.second = Silent
		m.qualified(now, m.mapped, m.nat, out)
	case x.native && m.wondersNative(): // perhaps the server drops what has options, which tells nothing about the mapping
		if m.questions++; !m.wondersNative() {
			m.natives = nil
		}
		m.test(now, out)
	case m.state == Qualified && m.heard.After(x.began) && m.refusal.From != x.server:
		// Other packets came from the server meanwhile. They were sent to the mapping, so it still holds (§5.2.5).
		// A refused advertisement is no such sign: it goes to where the solicitation came from, whatever mapping that is.
		m.silentSince = time.Time{}
		m.await(now, out)
	case m.cone && m.state != Qualified: // not behind a cone NAT, or there is no server: once more with the cone bit 0
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

// noAnswer describes a failed exchange. When the server has answered, but with a refused advertisement, that is the cause.
func (m *Machine) noAnswer(what, advice string) string {
	if m.refusal.Err != nil {
		return fmt.Sprintf("%s with a valid router advertisement (%d attempts): %v", what, attempts, m.refusal)
	}
	return fmt.Sprintf("%s (%d attempts); %s", what, attempts, advice)
}

// silenceAdvice says what to look at when the server is silent. Servers drop what they cannot authenticate (RFC 4380 §5.3.1), so
// a wrong secret looks like no server at all.
func (m *Machine) silenceAdvice() string {
	if m.secure() {
		return fmt.Sprintf("check that the server has the same secret for client %q, for it drops what it cannot authenticate; "+
			"then its address, and that this network lets UDP out to port 3544", m.cfg.ClientID)
	}
	return "check the server's address, and that this network lets UDP out to port 3544"
}
