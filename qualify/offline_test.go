package qualify_test

import (
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
)

// waits runs failed qualifications and returns the waits between them.
func (w *world) waits(n int) []time.Duration {
	w.t.Helper()
	var all []time.Duration
	for range n {
		w.expire()
		w.expect(qualify.Offline)
		failed := w.now
		w.single(w.tick())
		w.expect(qualify.Starting)
		all = append(all, w.now.Sub(failed))
	}
	return all
}

func checkWaits(t *testing.T, got []time.Duration) {
	t.Helper()
	longest := []time.Duration{10, 20, 40, 80, 160, 300, 300, 300, 300, 300, 300, 300}
	for i, d := range got {
		if high := longest[i] * time.Second; d < high/2 || d > high {
			t.Errorf("wait %d is %v, want %v to %v", i+1, d, high/2, high)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Run("grows to its maximum", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		checkWaits(t, w.waits(12))
	})
	t.Run("differs between clients", func(t *testing.T) {
		var first []time.Duration
		for seed := range byte(50) {
			w := newWorld(t, func(c *qualify.Config) { c.Rand = seeded(seed) })
			w.start()
			first = append(first, w.waits(1)...)
		}
		slices.Sort(first)
		if len(slices.Compact(first)) < 50 {
			t.Errorf("waits repeat: %v", first)
		}
	})
	t.Run("reset by success", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.waits(4)
		s := w.sent[len(w.sent)-1]
		w.answer(w.single(w.answer(s, mapped)), mapped)
		w.expect(qualify.Qualified)
		w.start()
		w.lose()
		w.expect(qualify.Offline)
		first := w.now
		w.single(w.tick())
		if d := w.now.Sub(first); d < timeout || d > 6*timeout/5 {
			t.Errorf("a server that has served is asked again after %v", d)
		}
	})
	t.Run("reset by Start", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.waits(4)
		w.start()
		checkWaits(t, w.waits(3))
	})
	t.Run("after a symmetric NAT", func(t *testing.T) { // C-QUAL-08
		w := newWorld(t)
		w.answer(w.single(w.answer(w.start(), mapped)), moved)
		failed := w.now
		s := w.single(w.tick())
		if d := w.now.Sub(failed); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("waited %v", d)
		}
		st := w.expect(qualify.Starting)
		if st.NAT != qualify.Unknown || st.Mapped.IsValid() || st.LastError == "" {
			t.Errorf("status %+v; want the old error, and nothing yet about the NAT", st)
		}
		w.answer(w.single(w.answer(s, mapped)), mapped)
		w.expect(qualify.Qualified)
	})
	t.Run("an early Tick does nothing", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.expire()
		d, _ := w.m.Deadline()
		w.now = d.Add(-1)
		if got := w.tickNow(); len(got) != 0 {
			t.Errorf("sent %v", got)
		}
		w.expect(qualify.Offline)
	})
}

func TestOfflineCountdown(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.expire()
	d, _ := w.m.Deadline()
	for left, want := range map[time.Duration]string{
		7 * time.Second:          "next attempt in 7s",
		6*time.Second + 1:        "next attempt in 7s",
		1:                        "next attempt in 1s",
		0:                        "next attempt in 0s",
		-time.Minute:             "next attempt in 0s",
		125 * time.Second:        "next attempt in 2m5s",
		1500 * time.Millisecond:  "next attempt in 2s",
		999*time.Millisecond + 1: "next attempt in 1s",
	} {
		if got := w.m.Status(d.Add(-left)).Attempt; got != want {
			t.Errorf("%v before: %q, want %q", left, got, want)
		}
	}
}

func TestStart(t *testing.T) {
	t.Run("withdraws the address until it is confirmed", func(t *testing.T) {
		w := newWorld(t)
		w.qualify(mapped)
		w.start()
		s := w.expect(qualify.Starting)
		if s.NAT != qualify.Unknown || s.Mapped.IsValid() || s.LastError != "" {
			t.Errorf("status %+v", s)
		}
	})
	t.Run("ends the wait at once", func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.expire()
		w.start()
		if s := w.expect(qualify.Starting); s.LastError != "" {
			t.Errorf("LastError = %q of the network before", s.LastError)
		}
	})
	t.Run("in the second phase begins with the first", func(t *testing.T) {
		w := newWorld(t)
		w.answer(w.start(), mapped)
		if s := w.start(); s.to != port3544(server1) {
			t.Errorf("asks %v", s.to)
		}
	})
}

func TestNames(t *testing.T) {
	for s, want := range map[interface{ String() string }]string{
		qualify.Initial: "initial", qualify.Starting: "starting", qualify.Qualified: "qualified", qualify.Offline: "offline",
		qualify.Unknown: "unknown", qualify.None: "none", qualify.Restricted: "restricted", qualify.Symmetric: "symmetric",
		qualify.State(9): "state(9)", qualify.NAT(9): "nat(9)",
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
