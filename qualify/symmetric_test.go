package qualify_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

func symmetricNAT(c *qualify.Config) { c.SymmetricNAT = true }

// X-SNS-01, X-UPNP-05: with the extension a symmetric NAT does not lead to off-line: the client has an address with the mapping
// that the primary address of the server saw, whether the second one saw another port or another IPv4 address.
func TestSymmetricNATQualifies(t *testing.T) {
	for name, c := range map[string]struct {
		second netip.AddrPort
		kind   qualify.NAT
		change []func(*qualify.Config)
	}{
		"X-SNS-01: another port":        {moved, qualify.Symmetric, []func(*qualify.Config){symmetricNAT}},
		"X-SNS-01: another address":     {netip.MustParseAddrPort("203.0.113.6:40000"), qualify.Symmetric, []func(*qualify.Config){symmetricNAT}},
		"X-SNS-01: of a guessed server": {moved, qualify.Symmetric, []func(*qualify.Config){symmetricNAT, guessedSecondary}},
		"the same mapping":              {mapped, qualify.Restricted, []func(*qualify.Config){symmetricNAT}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.change...)
			w.answer(w.single(w.answer(w.start(), mapped)), c.second)
			s := w.expect(qualify.Qualified)
			if s.NAT != c.kind || s.Mapped != mapped || teredo.Mapped(s.Address) != mapped || s.LastError != "" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// X-SNS-01, C-MNT-04: maintenance asks the primary address, whose mapping alone counts. When that one changes, the NAT is still symmetric.
func TestSymmetricNATStays(t *testing.T) {
	w := newWorld(t, symmetricNAT)
	w.answer(w.single(w.answer(w.start(), mapped)), moved)
	address := w.expect(qualify.Qualified).Address
	maintenance := w.single(w.tick())
	if maintenance.to != port3544(server1) {
		t.Errorf("maintenance asks %v", maintenance.to)
	}
	w.answer(maintenance, mapped)
	if s := w.expect(qualify.Qualified); s.Address != address || s.NAT != qualify.Symmetric {
		t.Errorf("status %+v", s)
	}
	w.answer(w.single(w.tick()), moved)
	if s := w.expect(qualify.Qualified); s.Address == address || teredo.Mapped(s.Address) != moved || s.NAT != qualify.Symmetric {
		t.Errorf("status %+v", s)
	}
}
