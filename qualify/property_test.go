package qualify_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// TestRandomEvents feeds the machine whatever can happen, in any order, and checks after each event what must always
// hold; then it checks that the machine is not stuck.
func TestRandomEvents(t *testing.T) {
	configs := []func(*qualify.Config){
		func(*qualify.Config) {}, guessedSecondary, noSecondary, local(mapped),
		func(c *qualify.Config) { c.Interval = qualify.MinInterval },
		secure, conePhase,
	}
	for i, change := range configs {
		for seed := range byte(20) {
			t.Run(fmt.Sprintf("config %d seed %d", i, seed), func(t *testing.T) {
				w := newWorld(t, change, func(c *qualify.Config) { c.Rand = seeded(seed) })
				h := &chaos{world: w, rand: rand.New(rand.NewPCG(uint64(seed), uint64(i))), repeats: map[[8]byte]int{}}
				h.start()
				h.account(1)
				for range 400 {
					h.step()
				}
				h.recovers()
				h.fails()
			})
		}
	}
}

// chaos makes random events and keeps the account of solicitations.
type chaos struct {
	*world
	rand    *rand.Rand
	repeats map[[8]byte]int // transmissions by nonce
	counted int             // of world.sent
}

func (h *chaos) step() {
	h.t.Helper()
	before := h.status()
	ticked := false
	switch h.rand.IntN(8) {
	case 0, 1, 2:
		h.now, _ = h.m.Deadline()
		ticked = true
		h.tickNow()
	case 3: // earlier or later than it should be
		h.now = h.now.Add(time.Duration(h.rand.Int64N(int64(40 * time.Second))))
		ticked = true
		h.tickNow()
	case 4:
		h.m.Heard(h.now)
	case 5:
		h.advertise()
	case 6:
		h.forge(before)
	case 7:
		if h.rand.IntN(10) == 0 {
			h.m.Start(h.now, &h.out)
			h.collect()
		}
	}
	h.check(before, ticked)
}

// advertise answers any of the last few solicitations, which may be too late, with one of two mappings.
func (h *chaos) advertise() {
	s := h.sent[len(h.sent)-1-h.rand.IntN(min(3, len(h.sent)))]
	origin := mapped
	if h.rand.IntN(4) == 0 {
		origin = moved
	}
	latest := s.nonce == h.sent[len(h.sent)-1].nonce
	before := h.status()
	if err := h.deliver(valid(s, origin)); err == nil && !latest {
		h.t.Error("C-QUAL-15: the answer to an earlier exchange is accepted")
	} else if err != nil && before.State == qualify.Qualified {
		after := h.status()
		if after.Refused = before.Refused; after != before {
			h.t.Errorf("refused with %v, but status %+v was %+v", err, after, before)
		}
	}
	h.collect()
}

func (h *chaos) forge(before qualify.Status) {
	a := valid(h.sent[len(h.sent)-1], moved)
	forgery := forgeries[h.rand.IntN(len(forgeries))]
	forgery.forge(&a)
	if h.deliver(a) == nil {
		h.t.Errorf("%s: accepted", forgery.name)
	}
	if after := h.status(); after.State != before.State || after.Address != before.Address || len(h.collect()) != 0 {
		h.t.Errorf("%s: status %+v, was %+v", forgery.name, after, before)
	}
}

// check is what holds after every event.
func (h *chaos) check(before qualify.Status, ticked bool) {
	h.t.Helper()
	h.account(1)
	deadline, ok := h.m.Deadline()
	if !ok || ticked && !deadline.After(h.now) || deadline.After(h.now.Add(5*time.Minute)) {
		h.t.Errorf("deadline %v, %t", deadline.Sub(h.now), ok)
	}
	s := h.status()
	switch s.State {
	case qualify.Qualified:
		h.checkQualified(s)
		if before.State == qualify.Qualified && before.Mapped == s.Mapped && before.Address != s.Address {
			h.t.Errorf("W-ADDR-07: address %v, was %v, for the same mapping", s.Address, before.Address)
		}
	case qualify.Offline:
		if s.LastError == "" || s.Attempt == "" || s.Address.IsValid() {
			h.t.Errorf("status %+v", s)
		}
	case qualify.Starting:
		if s.Attempt == "" || s.Address.IsValid() {
			h.t.Errorf("status %+v", s)
		}
	default:
		h.t.Errorf("state %v after Start", s.State)
	}
}

// account counts the solicitations sent since the last call, of which there may be so many.
func (h *chaos) account(most int) {
	h.t.Helper()
	if n := len(h.sent) - h.counted; n > most {
		h.t.Errorf("%d datagrams for one event", n)
	}
	for ; h.counted < len(h.sent); h.counted++ {
		nonce := h.sent[h.counted].nonce
		if h.repeats[nonce]++; h.repeats[nonce] > attempts {
			h.t.Errorf("K-04: %d solicitations in one exchange", h.repeats[nonce])
		}
	}
}

func (h *chaos) checkQualified(s qualify.Status) {
	h.t.Helper()
	a, ok := teredo.ParseAddress(s.Address)
	var cone uint16
	if s.NAT == qualify.Cone {
		cone = teredo.FlagCone
	}
	if !ok || a.Server != server1 || a.Mapped != s.Mapped || a.Flags&^uint16(teredo.FlagRandomMask) != cone {
		h.t.Errorf("address %v for the mapping %v", s.Address, s.Mapped)
	}
	if s.NAT == qualify.Symmetric || s.LastError != "" {
		h.t.Errorf("status %+v", s)
	}
}

// recovers checks that from here two honest servers lead to qualification.
func (h *chaos) recovers() {
	h.t.Helper()
	for range 10 {
		for _, s := range h.tick() {
			for next := h.answer(s, mapped); len(next) > 0; {
				next = h.answer(next[0], mapped)
			}
		}
		if s := h.status(); s.State == qualify.Qualified && s.Attempt == "" {
			return
		}
	}
	h.t.Errorf("stuck: %+v", h.status())
}

// fails checks that from here a silent server leads off-line, and that the client does not hammer it there: 4 s are the least
// between two solicitations, and 300 s the most. In the first quarter of an hour they are 5 s apart at most, so that the client
// is back soon when the server is.
func (h *chaos) fails() {
	h.t.Helper()
	for ticks := 0; h.status().State != qualify.Offline; ticks++ {
		if ticks > 10 {
			h.t.Fatalf("stuck: %+v", h.status())
		}
		h.tick()
	}
	begun, before := h.now, len(h.sent)
	for h.now.Sub(begun) < 48*time.Hour {
		h.tick()
	}
	sent := h.sent[before:]
	for i := 1; i < len(sent); i++ {
		gap := sent[i].at.Sub(sent[i-1].at)
		if gap < timeout || gap > 300*time.Second || sent[i].at.Sub(begun) < 15*time.Minute && gap > 5*time.Second {
			h.t.Fatalf("a solicitation %v after the last one, %v after the client went off-line", gap, sent[i].at.Sub(begun))
		}
	}
	const fewest, most = 48 * 3600 / 300, 3000
	if n := len(sent); n < fewest || n > most {
		h.t.Errorf("%d solicitations in two days without answers, want %d to %d", n, fewest, most)
	}
	h.account(len(h.sent))
}

// A flood of refused advertisements must not keep a silent server's exchange alive.
func TestForgeriesDoNotDelay(t *testing.T) {
	w := newWorld(t)
	s := w.start()
	for end := w.now.Add(attempts * timeout); w.now.Before(end); w.now = w.now.Add(100 * time.Millisecond) {
		a := valid(s, mapped)
		a.from = netip.MustParseAddrPort("198.51.100.9:3544")
		if w.deliver(a) == nil {
			t.Fatal("accepted")
		}
		w.tickNow()
	}
	w.tickNow()
	if n := len(w.sent); n != attempts {
		t.Errorf("%d solicitations", n)
	}
	w.expect(qualify.Offline)
}
