package qualify_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// reached sets when a packet came from a peer last.
func reached(at *time.Time) func(*qualify.Config) {
	return func(c *qualify.Config) { c.Reached = func() time.Time { return *at } }
}

// The address is usable as soon as the primary address has answered. What the secondary address tells then changes the kind of
// the NAT, and nothing else (C-QUAL-06, with the deviation).
func TestUsableAtFirstAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*qualify.Config)
		second func(w *world, s solicitation)
		nat    qualify.NAT
		told   qualify.SecondAddress
	}{
		"the same mapping": {func(*qualify.Config) {}, func(w *world, s solicitation) { w.answer(s, mapped) }, qualify.Restricted, qualify.Answers},
		"another mapping":  {func(*qualify.Config) {}, func(w *world, s solicitation) { w.answer(s, moved) }, qualify.Symmetric, qualify.Answers},
		"silence":          {func(*qualify.Config) {}, func(w *world, _ solicitation) { w.expire() }, qualify.Unknown, qualify.Silent},
		"of a guessed one": {guessedSecondary, func(w *world, _ solicitation) { w.expire() }, qualify.Unknown, qualify.Silent},
		"without a NAT":    {local(mapped), func(w *world, s solicitation) { w.answer(s, mapped) }, qualify.None, qualify.Answers},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, symmetricNAT, test.change)
			second := w.single(w.answer(w.start(), mapped))
			s := w.expect(qualify.Qualified)
			if second.to != port3544(server2) || s.Second != qualify.NotAsked ||
				s.Attempt != "router advertisement from 192.0.2.2:3544 (attempt 1 of 3)" {
				t.Errorf("asks %v, status %+v", second.to, s)
			}
			address := s.Address
			test.second(w, second)
			if s = w.expect(qualify.Qualified); s.Address != address || s.NAT != test.nat || s.Second != test.told || s.LastError != "" || s.Attempt != "" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// A Check while the secondary address is asked goes first: the mapping may be another one. The test follows.
func TestCheckDuringTest(t *testing.T) {
	w := newWorld(t, symmetricNAT)
	w.answer(w.start(), mapped)
	w.m.Check(w.now, &w.out)
	first := w.one()
	if first.to != port3544(server1) {
		t.Fatalf("asks %v", first.to)
	}
	w.m.Check(w.now, &w.out) // is being done
	if got := w.collect(); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
	second := w.single(w.answer(first, moved))
	w.answer(second, moved)
	if s := w.expect(qualify.Qualified); s.Mapped != moved || s.NAT != qualify.Restricted {
		t.Errorf("status %+v", s)
	}
}

// C-MNT-07: While a path works, a silent server takes nothing away: the address stays. When no path has been heard of for 30 s, the client is
// off-line. In both cases the server is asked every 4 to 4.8 s, and its first answer ends the matter.
func TestSilentServer(t *testing.T) {
	var heard time.Time
	w := newWorld(t, symmetricNAT, reached(&heard))
	w.qualify(mapped)
	address := w.status().Address
	last := w.single(w.tick())
	silent := w.now
	heard = w.now
	w.lose()
	for w.now.Sub(silent) < 5*time.Minute {
		heard = w.now
		last = w.single(w.tick())
	}
	s := w.expect(qualify.Qualified)
	if s.Address != address || s.SilentSince != silent || !strings.Contains(s.LastError, "stopped answering") || !strings.Contains(s.LastError, "new paths wait") {
		t.Errorf("status %+v", s)
	}
	w.answer(last, mapped)
	if s := w.expect(qualify.Qualified); s.Address != address || !s.SilentSince.IsZero() || s.LastError != "" || s.Attempt != "" || s.NAT != qualify.Restricted {
		t.Errorf("status %+v", s)
	}

	last = w.single(w.tick())
	heard = w.now
	w.lose()
	for w.status().State == qualify.Qualified {
		last = w.single(w.tick())
	}
	if d := w.now.Sub(heard); d < 30*time.Second || d > 35*time.Second {
		t.Errorf("off-line %v after the last packet of a peer", d)
	}
	for range 20 {
		last = w.single(w.tick())
	}
	w.answer(w.single(w.answer(last, mapped)), mapped)
	if s := w.expect(qualify.Qualified); s.Address != address || !s.SilentSince.IsZero() {
		t.Errorf("status %+v", s)
	}
}

// A mapping that has changed while the server was silent brings a new address, whatever paths seemed to live.
func TestSilentServerNewMapping(t *testing.T) {
	heard := epoch.Add(time.Hour)
	w := newWorld(t, symmetricNAT, reached(&heard))
	w.qualify(mapped)
	w.single(w.tick())
	w.answer(w.lose(), moved)
	if s := w.expect(qualify.Qualified); s.Mapped != moved || teredo.Mapped(s.Address) != moved {
		t.Errorf("status %+v", s)
	}
}

// The address of an earlier run is had again with the same server and mapping, and only then (W-ADDR-07). Its server is asked
// like one that has served in this run.
func TestLastAddress(t *testing.T) {
	last := teredo.Address{Server: server1, Flags: 0x1234, Mapped: mapped}
	for name, test := range map[string]struct {
		last   teredo.Address
		mapped netip.AddrPort
		same   bool
	}{
		"same mapping":   {last, mapped, true},
		"other mapping":  {last, moved, false},
		"another server": {teredo.Address{Server: server2, Flags: 0x1234, Mapped: mapped}, mapped, false},
		"none":           {teredo.Address{}, mapped, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, symmetricNAT, func(c *qualify.Config) { c.Last = test.last })
			w.qualify(test.mapped)
			if got := w.status().Address; (got == last.Addr()) != test.same {
				t.Errorf("address %v", got)
			}
		})
	}
	w := newWorld(t, symmetricNAT, func(c *qualify.Config) { c.Last = last })
	w.start()
	s := w.lose()
	if st := w.expect(qualify.Offline); !strings.Contains(st.LastError, "does not answer") {
		t.Errorf("status %+v", st)
	}
	w.answer(s, mapped)
	if st := w.expect(qualify.Qualified); st.Address != last.Addr() {
		t.Errorf("status %+v", st)
	}
}

// C-MNT-07: A server that has been away for two minutes is not overrun by its 100,000 clients when it comes back: they come in turn
// within 5 s, no more than a third of them in any second.
func TestReturnOfServer(t *testing.T) {
	const clients, outage = 100_000, 2 * time.Minute
	down := epoch.Add(time.Hour)
	up := down.Add(outage)
	var perSecond [6]int
	var out teredo.Outbox
	for n := range clients {
		m, err := qualify.New(qualify.Config{Server: server1, Filter: lab(), Rand: seededBy(n), SymmetricNAT: true,
			Last: teredo.Address{Server: server1, Mapped: mapped}})
		if err != nil {
			t.Fatal(err)
		}
		m.Start(down, &out) // the worst case: all of them notice at the same moment
		for out.Reset(); ; out.Reset() {
			at, _ := m.Deadline()
			m.Tick(at, &out)
			if len(out.Datagrams()) > 0 && !at.Before(up) {
				perSecond[min(int(at.Sub(up)/time.Second), len(perSecond)-1)]++
				out.Reset()
				break
			}
		}
	}
	t.Logf("clients in each second after the return of the server: %v", perSecond)
	for second, n := range perSecond {
		if n > clients/3 || second == len(perSecond)-1 && n > 0 {
			t.Errorf("%d clients in second %d", n, second)
		}
	}
}

func seededBy(n int) func([]byte) {
	return seededWith([32]byte{byte(n), byte(n >> 8), byte(n >> 16), 1})
}
