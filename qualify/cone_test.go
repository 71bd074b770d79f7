package qualify_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// The phase of RFC 4380 §5.2.1 that RFC 5991 §3.2 makes an option.
func TestConePhase(t *testing.T) {
	t.Run("C-QUAL-04, C-QUAL-12: a cone NAT", func(t *testing.T) {
		w := newWorld(t, conePhase)
		s := w.start()
		if s.to != port3544(server1) || !s.cone {
			t.Fatalf("first solicitation %+v", s)
		}
		if got, want := w.status().Attempt, "router advertisement from another address of 192.0.2.1:3544 (cone bit 1, attempt 1 of 3)"; got != want {
			t.Errorf("Attempt = %q, want %q", got, want)
		}
		if got := w.answer(s, mapped); len(got) != 0 {
			t.Fatalf("sent %v though it is fully qualified", got)
		}
		st := w.expect(qualify.Qualified)
		a, _ := teredo.ParseAddress(st.Address)
		if st.NAT != qualify.Cone || a.Flags&teredo.FlagCone == 0 || a.Flags&^uint16(teredo.FlagCone|teredo.FlagRandomMask) != 0 {
			t.Errorf("NAT %v, address %v with flags %#04x", st.NAT, st.Address, a.Flags)
		}
	})
	t.Run("no NAT", func(t *testing.T) {
		w := newWorld(t, conePhase, local(mapped))
		w.answer(w.start(), mapped)
		if st := w.expect(qualify.Qualified); st.NAT != qualify.None || !teredo.ConeBit(st.Address) {
			t.Errorf("status %+v", st)
		}
	})
	t.Run("C-QUAL-04, C-QUAL-05: no answer, then as without it", func(t *testing.T) {
		w := newWorld(t, conePhase)
		w.start()
		for range attempts - 1 {
			w.single(w.tick())
		}
		s := w.single(w.tick())
		if s.cone || s.to != port3544(server1) || w.now.Sub(epoch) != attempts*timeout {
			t.Fatalf("after N x T: %+v", s)
		}
		w.answer(w.single(w.answer(s, mapped)), mapped)
		st := w.expect(qualify.Qualified)
		if st.NAT != qualify.Restricted || teredo.ConeBit(st.Address) {
			t.Errorf("status %+v", st)
		}
		if s := w.single(w.tick()); s.cone {
			t.Error("C-MNT-02: cone bit 1, though 0 has succeeded")
		}
	})
	t.Run("C-QUAL-05: no answer at all", func(t *testing.T) {
		w := newWorld(t, conePhase)
		w.start()
		for range 2*attempts - 1 {
			w.single(w.tick())
		}
		w.tick()
		w.expect(qualify.Offline)
		if d := w.now.Sub(epoch); d != 2*attempts*timeout {
			t.Errorf("off-line after %v", d)
		}
		if s := w.single(w.tick()); !s.cone {
			t.Error("the next qualification skips the cone phase")
		}
	})
	t.Run("C-MNT-02: maintenance with the bit that succeeded", func(t *testing.T) {
		w := newWorld(t, conePhase)
		w.answer(w.start(), mapped)
		before := w.status().Address
		for range 3 {
			s := w.single(w.tick())
			if !s.cone || s.to != port3544(server1) {
				t.Fatalf("refresh %+v", s)
			}
			w.answer(s, mapped)
		}
		if got := w.expect(qualify.Qualified).Address; got != before {
			t.Errorf("address %v, was %v", got, before)
		}
		w.answer(w.single(w.tick()), moved) // C-MNT-04
		if st := w.expect(qualify.Qualified); st.NAT != qualify.Cone || !teredo.ConeBit(st.Address) || st.Mapped != moved {
			t.Errorf("status %+v", st)
		}
	})
	t.Run("the answer counts as hearing the server", func(t *testing.T) {
		w := newWorld(t, conePhase)
		s := w.start()
		w.now = w.now.Add(time.Second)
		if err := w.deliver(valid(s, mapped)); err != nil {
			t.Fatal(err)
		}
		if got := w.expect(qualify.Qualified).LastHeard; got != w.now {
			t.Errorf("heard at %v, want %v", got, w.now)
		}
	})
	t.Run("W-ADDR-07: another NAT, the same mapping", func(t *testing.T) {
		w := newWorld(t, conePhase)
		w.answer(w.start(), mapped)
		cone := w.status().Address
		w.start()
		for range attempts - 1 {
			w.single(w.tick())
		}
		w.answer(w.single(w.answer(w.single(w.tick()), mapped)), mapped)
		if st := w.expect(qualify.Qualified); st.Address == cone || teredo.ConeBit(st.Address) {
			t.Errorf("address %v, was %v", st.Address, cone)
		}
	})
}

func TestConePhaseForgeries(t *testing.T) {
	anywhere := netip.MustParseAddrPort("198.51.100.9:3544")
	for _, tt := range []struct {
		name  string
		forge func(a *advert)
		want  error
	}{
		{"C-QUAL-14: the address that was asked", func(a *advert) { a.from = port3544(server1) }, qualify.ErrSameAddress},
		{"C-QUAL-14: another port of it", func(a *advert) { a.from = netip.AddrPortFrom(server1, 3545) }, qualify.ErrSource},
		{"C-QUAL-14: another port", func(a *advert) { a.from = netip.AddrPortFrom(server2, 3545) }, qualify.ErrSource},
		{"C-QUAL-09: for cone bit 0", func(a *advert) { a.dst = teredo.ClientLinkLocal(false, netip.AddrPort{}) }, qualify.ErrDestination},
		{"C-SEC-02: a stranger", func(a *advert) { a.from = anywhere; a.auth.Nonce[0] ^= 1 }, qualify.ErrNonce},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, conePhase)
			checkRefused(t, w, w.start(), tt.forge, tt.want)
			w.expect(qualify.Qualified)
		})
	}
	t.Run("C-QUAL-15: late, in the next phase", func(t *testing.T) {
		w := newWorld(t, conePhase)
		late := valid(w.start(), mapped)
		for range attempts {
			w.single(w.tick())
		}
		if err := w.deliver(late); err != qualify.ErrSource {
			t.Errorf("error %v", err)
		}
		late.from = port3544(server1)
		if err := w.deliver(late); err != qualify.ErrNonce {
			t.Errorf("error %v", err)
		}
	})
	t.Run("with a secret", func(t *testing.T) {
		w := newWorld(t, conePhase, secure)
		checkRefused(t, w, w.start(), func(a *advert) { a.secret = "guess" }, qualify.ErrAuthValue)
		if st := w.expect(qualify.Qualified); st.NAT != qualify.Cone {
			t.Errorf("status %+v", st)
		}
	})
}

// The answer may come from an address that the client does not know.
func TestConePhaseWithoutSecondary(t *testing.T) {
	w := newWorld(t, conePhase, noSecondary)
	w.answer(w.start(), mapped)
	w.expect(qualify.Qualified)
}
