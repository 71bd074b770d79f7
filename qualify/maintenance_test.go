package qualify_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
)

// K-05, K-06: the intervals, with nothing configured and with another one.
func TestMaintenance(t *testing.T) {
	t.Run("C-MNT-01, C-MNT-02 and C-MNT-05", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		s := w.single(w.tick())
		if d := w.now.Sub(epoch); d < 22500*time.Millisecond || d > 30*time.Second {
			t.Errorf("refresh after %v of silence, want 22.5 to 30 s", d)
		}
		if s.to != port3544(server1) {
			t.Errorf("refresh asks %v", s.to)
		}
		st := w.expect(qualify.Qualified)
		if st.Attempt != "router advertisement from 192.0.2.1:3544 (attempt 1 of 3)" {
			t.Errorf("Attempt = %q", st.Attempt)
		}
		before := st.Address
		w.answer(s, mapped)
		if st := w.expect(qualify.Qualified); st.Address != before || st.Attempt != "" || st.NAT != qualify.Restricted {
			t.Errorf("status %+v, address was %v", st, before)
		}
		if n := len(w.nonces()); n != 3 {
			t.Errorf("%d nonces in three exchanges", n)
		}
	})
	t.Run("C-MNT-06: the period is drawn anew, from 75 to 100 %", func(t *testing.T) {
		const interval = 8 * time.Second
		w := newWorld(t, func(c *qualify.Config) { c.Interval = interval })
		w.qualify(mapped)
		var periods []time.Duration
		for range 300 {
			before := w.now
			w.answer(w.single(w.tick()), mapped)
			periods = append(periods, w.now.Sub(before))
		}
		slices.Sort(periods)
		low, high := periods[0], periods[len(periods)-1]
		if low < interval*75/100 || high > interval {
			t.Errorf("periods from %v to %v", low, high)
		}
		if low > interval*77/100 || high < interval*98/100 {
			t.Errorf("periods from %v to %v do not fill 75 to 100 %%", low, high)
		}
		if len(slices.Compact(periods)) < 290 {
			t.Error("periods repeat")
		}
	})
	t.Run("C-RX-03: any packet from the server is noted", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		d, _ := w.m.Deadline()
		w.now = d.Add(-time.Second)
		w.m.Heard(w.now)
		if after, _ := w.m.Deadline(); after != d {
			t.Fatal("Heard moves the deadline")
		}
		if got := w.status().LastHeard; got != w.now {
			t.Errorf("last heard %v ago", w.now.Sub(got))
		}
	})
	// Packets that only come in do not keep a NAT's permission for the server (RFC 4787 REQ-6), so they do not put off the
	// client's own solicitation (RFC 6081 §5.1.1).
	t.Run("C-MNT-02: the server is asked in each period, heard or not", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		asked := w.now
		for range 100 {
			d, _ := w.m.Deadline()
			w.now = d.Add(-time.Second)
			w.m.Heard(w.now)
			w.now = d
			rs := w.single(w.tick())
			if since := w.now.Sub(asked); since < 22500*time.Millisecond || since > 30*time.Second {
				t.Fatalf("asked after %v", since)
			}
			asked = w.now
			w.answer(rs, mapped)
		}
	})
	t.Run("C-RX-03: the primary's advertisement counts, the secondary's does not (A-21)", func(t *testing.T) {
		w := newWorld(t)
		first := w.start()
		w.now = w.now.Add(time.Second)
		if err := w.deliver(valid(first, mapped)); err != nil {
			t.Fatal(err)
		}
		second := w.one()
		heard := w.now
		w.now = w.now.Add(time.Second)
		w.answer(second, mapped)
		if got := w.expect(qualify.Qualified).LastHeard; got != heard {
			t.Errorf("heard at %v, want %v", got.Sub(epoch), heard.Sub(epoch))
		}
	})
	t.Run("C-MNT-07: no answer", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		w.single(w.tick())
		silent := w.now
		w.expect(qualify.Qualified)
		w.lose()
		if d := w.now.Sub(silent); d != attempts*timeout {
			t.Errorf("offline after %v, want N x T", d)
		}
		s := w.expect(qualify.Offline)
		want := "server 192.0.2.1:3544 has stopped answering (3 attempts); the Teredo address is withdrawn"
		if s.LastError != want || s.Mapped.IsValid() || s.NAT != qualify.Unknown || s.SilentSince != silent {
			t.Errorf("status %+v, want error %q", s, want)
		}
		w.expect(qualify.Offline)
	})
	t.Run("C-MNT-07: loss of each single packet", func(t *testing.T) {
		for lost := range attempts {
			w := newWorld(t)
			w.qualify(mapped)
			s := w.single(w.tick())
			for range lost {
				s = w.single(w.tick())
			}
			w.answer(s, mapped)
			w.expect(qualify.Qualified)
		}
	})
	t.Run("C-MNT-01: heard by other packets while the advertisements are lost", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		w.single(w.tick())
		w.single(w.tick())
		w.m.Heard(w.now)
		heard := w.now
		w.single(w.tick())
		if got := w.tick(); len(got) != 0 {
			t.Errorf("sent %v", got)
		}
		w.expect(qualify.Qualified)
		w.single(w.tick())
		if silent := w.now.Sub(heard); silent < 22500*time.Millisecond || silent > 30*time.Second {
			t.Errorf("the next refresh after %v of silence", silent)
		}
	})
	t.Run("a server that answers nonsense", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		a := valid(w.single(w.tick()), mapped)
		a.prefix = server2
		w.now = w.now.Add(time.Millisecond)
		w.m.Heard(w.now)
		if w.deliver(a) == nil {
			t.Fatal("accepted")
		}
		w.lose()
		got := w.expect(qualify.Offline).LastError
		if !strings.Contains(got, "stopped answering with a valid router advertisement") || !strings.Contains(got, qualify.ErrPrefix.Error()) {
			t.Errorf("LastError = %q", got)
		}
	})
}

// With an interval shorter than the exchange with a silent guessed secondary, the first check is due at once.
func TestShortInterval(t *testing.T) {
	w := newWorld(t, guessedSecondary, func(c *qualify.Config) { c.Interval = qualify.MinInterval })
	w.answer(w.start(), mapped)
	for range attempts - 1 {
		w.single(w.tick())
	}
	s := w.single(w.tick())
	w.expect(qualify.Qualified)
	if s.to != port3544(server1) {
		t.Errorf("asks %v", s.to)
	}
	w.answer(s, mapped)
	w.expect(qualify.Qualified)
}

func TestMappingChange(t *testing.T) {
	t.Run("C-MNT-04", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		before := w.flags()
		w.answer(w.single(w.tick()), moved)
		s := w.expect(qualify.Qualified)
		if s.Mapped != moved {
			t.Errorf("mapped %v", s.Mapped)
		}
		if w.flags() == before {
			t.Error("W-ADDR-07: the random bits of the old mapping")
		}
		if s.NAT != qualify.Unknown {
			t.Errorf("NAT = %v, though the secondary has not seen this mapping", s.NAT)
		}
	})
	t.Run("C-MNT-04: to the local address", func(t *testing.T) {
		w := newWorld(t, local(moved))
		w.qualify(mapped)
		w.answer(w.single(w.tick()), moved)
		if s := w.status(); s.NAT != qualify.None {
			t.Errorf("NAT = %v", s.NAT)
		}
	})
}

func TestRandomBits(t *testing.T) {
	t.Run("W-ADDR-07: kept with the mapping", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		before := w.status().Address
		w.qualify(mapped) // the network changed, or so it seemed
		if got := w.status().Address; got != before {
			t.Errorf("address %v, was %v", got, before)
		}
		w.single(w.tick())
		second := w.single(w.answer(w.lose(), mapped)) // the server went away for a while
		w.answer(second, mapped)
		if got := w.expect(qualify.Qualified).Address; got != before {
			t.Errorf("address %v, was %v", got, before)
		}
	})
	t.Run("W-ADDR-07: drawn anew with a new mapping", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		before := w.flags()
		w.qualify(moved)
		if w.flags() == before {
			t.Error("the bits of the old mapping")
		}
	})
	t.Run("W-ADDR-01: all twelve, and no other", func(t *testing.T) {
		var set, clear uint16
		for seed := range byte(64) {
			w := newWorld(t, func(c *qualify.Config) { c.Rand = seeded(seed) })
			w.qualify(mapped)
			set |= w.flags()
			clear |= ^w.flags()
		}
		if set != 0x3CFF || clear != 0xFFFF {
			t.Errorf("bits seen set %#04x, seen clear %#04x", set, clear)
		}
	})
}
