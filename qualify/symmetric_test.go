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

// The mappings that the server's addresses see tell whether the NAT counts its ports up, unless it has kept the local one
// (RFC 6081 §2).
func TestSequentialInStatus(t *testing.T) {
	inside := local(netip.MustParseAddrPort("192.168.1.2:40000"))
	at := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(mapped.Addr(), port) }
	for name, test := range map[string]struct {
		first, second netip.AddrPort
		want          qualify.Tristate
		change        []func(*qualify.Config)
	}{
		"next":                       {at(5000), at(5001), qualify.Yes, nil},
		"with others in between":     {at(5000), at(5016), qualify.Yes, nil},
		"downward":                   {at(5000), at(4998), qualify.Yes, nil},
		"at another address":         {at(5000), netip.MustParseAddrPort("203.0.113.6:5001"), qualify.Yes, nil},
		"too far":                    {at(5000), at(5017), qualify.No, nil},
		"random":                     {at(5000), at(61000), qualify.No, nil},
		"without the extension":      {at(5000), at(5001), qualify.Yes, []func(*qualify.Config){func(c *qualify.Config) { c.SymmetricNAT = false }}},
		"the first one was kept":     {at(40000), at(40001), qualify.NotKnown, nil},
		"one mapping":                {at(5000), at(5000), qualify.NotKnown, nil},
		"one mapping, which is kept": {at(40000), at(40000), qualify.NotKnown, nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, append([]func(*qualify.Config){symmetricNAT, inside}, test.change...)...)
			second := w.single(w.answer(w.start(), test.first))
			if s := w.status(); s.Sequential != qualify.NotKnown {
				t.Errorf("%v after one answer", s.Sequential)
			}
			w.answer(second, test.second)
			if s := w.status(); s.Sequential != test.want {
				t.Errorf("%v, want %v", s.Sequential, test.want)
			}
		})
	}
}

// A mapping from before may be much older than the other one, so it says nothing new. New ones do.
func TestSequentialStays(t *testing.T) {
	w := newWorld(t, symmetricNAT)
	for _, test := range []struct {
		first, second uint16
		want          qualify.Tristate
	}{{5000, 5001, qualify.Yes}, {5000, 7000, qualify.Yes}, {8000, 9000, qualify.No}} {
		first := netip.AddrPortFrom(mapped.Addr(), test.first)
		w.answer(w.single(w.answer(w.start(), first)), netip.AddrPortFrom(mapped.Addr(), test.second))
		if s := w.expect(qualify.Qualified); s.Sequential != test.want {
			t.Errorf("%+v: %v", test, s.Sequential)
		}
	}
}
