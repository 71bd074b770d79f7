package qualify

import (
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// wondersNative reports whether the server has neither answered the question for its native prefix since qualification began, nor
// left it unanswered for the last time.
func (m *Machine) wondersNative() bool { return m.cfg.NativeAddress && m.questions < attempts }

// attempts is the number of transmissions of the exchange's solicitation. Between repetitions of the question other things are asked.
func (m *Machine) attempts() int {
	if m.exchange.native && m.wondersNative() {
		return 1
	}
	return attempts
}

// asksNative reports whether a solicitation to this address of the server asks for the native prefix. Qualification never does, so
// that it is the same with all servers. Maintenance goes on asking a server that has told a prefix, which may change. It leaves the
// option out while the server is silent: perhaps another program, which drops it, is the server now.
func (m *Machine) asksNative(server netip.AddrPort) bool {
	return m.cfg.NativeAddress && m.state == Qualified && server == m.primary && !m.silent() && (m.wondersNative() || m.natives != nil)
}

// learnNative takes the answer to a solicitation that asked. A prefix that clients cannot have counts as none.
func (m *Machine) learnNative(prefix netip.Prefix) {
	m.questions, m.natives = attempts, nil
	if p, err := teredo.NewNativePrefix(m.cfg.Server, prefix); err == nil {
		m.natives = teredo.NativePrefixes{p}
	}
}
