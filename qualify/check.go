package qualify

import (
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Check asks the server at once whether the mapping still holds, as maintenance does after the refresh interval. It is for
// events that may have changed it without our seeing (RFC 6081 §5.1.1 allows solicitations at any time). While not
// qualified it begins a new qualification instead of waiting on. A test with the secondary address that is under way begins
// anew afterwards.
func (m *Machine) Check(now time.Time, out *teredo.Outbox) {
	asking := m.exchange.waiting() && m.exchange.server == m.primary
	switch {
	case m.state == Offline:
		m.Start(now, out)
	case m.state == Qualified && (!asking || m.silent()):
		m.solicit(now, m.primary, out)
	}
}
