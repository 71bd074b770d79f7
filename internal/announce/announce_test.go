package announce

import (
	"math/rand/v2"
	"testing"
	"time"
)

const (
	idle  = 30 * time.Second
	limit = 5 * time.Minute
)

var epoch = time.Unix(1e9, 0)

// service is a machine whose load the test makes.
type service struct {
	*Machine
	now  time.Time
	load Load
}

func newService() *service {
	s := &service{Machine: New(idle, limit), now: epoch}
	s.Observe(s.now, s.load)
	return s
}

// pass lets seconds pass, each with what it adds to the load.
func (s *service) pass(seconds int, add func(*Load)) {
	for range seconds {
		s.now = s.now.Add(time.Second)
		if add != nil {
			add(&s.load)
		}
		s.Observe(s.now, s.load)
	}
}

func (s *service) want(t *testing.T, why Reason) {
	t.Helper()
	if got := s.Withdrawn(); got != why {
		t.Fatalf("after %v it is withdrawn for %q, want %q", s.now.Sub(epoch), got, why)
	}
	if got := s.Status(s.now); got.Announced != (why == "") || got.WithdrawnReason != why || got.Invites() != got.Announced {
		t.Fatalf("status %+v, want %q", got, why)
	}
}

func floods(l *Load) { l.Budgets += budgetsRefused }
func serves(l *Load) { l.Served++ }

// A service is announced from when it is ready until it drains, whatever its load is then.
func TestAnnounced(t *testing.T) {
	s := newService()
	s.pass(100, floods)
	s.want(t, Starting)
	s = newService()
	s.Ready()
	s.want(t, "")
	s.Drain(s.now)
	s.want(t, Draining)
	s.pass(20, floods)
	s.want(t, Draining)
	s = newService()
	s.Drain(s.now) // while it is set up
	s.Ready()
	s.want(t, Draining)
}

// It stops when nobody has come for a while, or when the time is over.
func TestDrained(t *testing.T) {
	s := newService()
	s.Ready()
	s.pass(1000, nil)
	if s.Drained(s.now) {
		t.Error("it stops though it was not told to drain")
	}
	s.Drain(s.now)
	s.pass(29, nil)
	if s.Drained(s.now) {
		t.Error("it stops too early")
	}
	s.pass(1, serves)
	s.pass(29, nil)
	s.Drain(s.now) // again, which changes nothing
	if got := s.Status(s.now); s.Drained(s.now) || got.DrainIdleSeconds != 29 || got.DrainLeftSeconds != 241 {
		t.Errorf("status %+v", got)
	}
	s.pass(1, nil)
	if !s.Drained(s.now) {
		t.Error("nobody has come for 30 s, and it does not stop")
	}

	s = newService()
	s.Ready()
	s.Drain(s.now)
	s.pass(299, serves)
	if s.Drained(s.now) {
		t.Error("it stops while it serves")
	}
	s.pass(1, serves)
	if !s.Drained(s.now) {
		t.Error("its time is over, and it does not stop")
	}
}

// A service that cannot be asked for its load is not taken for idle.
func TestDrainsUnobserved(t *testing.T) {
	s := newService()
	s.Ready()
	s.Drain(s.now)
	if s.Drained(s.now.Add(limit - 1)) {
		t.Error("it stops though nobody knows whether it serves")
	}
	s.load.Served++
	s.now = s.now.Add(limit - 1)
	s.Observe(s.now, s.load)
	if s.Drained(s.now) {
		t.Error("it stops though it has served meanwhile")
	}
}

// R-DOS-01: each kind of overload withdraws the service after ten seconds, and not before; it comes back after a minute of calm, and the next
// time after two.
func TestOverload(t *testing.T) {
	for why, flood := range map[Reason]func(*Load){
		Budgets:   floods,
		Peers:     func(l *Load) { l.Peers += peersDisplaced },
		Processor: func(l *Load) { l.Processor += processorRefused },
	} {
		t.Run(string(why), func(t *testing.T) {
			s := newService()
			s.Ready()
			for calm := 60; calm <= 960; calm *= 2 {
				s.pass(9, flood)
				s.want(t, "")
				s.pass(1, flood)
				s.want(t, why)
				s.pass(500, flood)
				s.pass(calm-1, nil)
				s.want(t, why)
				s.pass(1, nil)
				s.want(t, "")
			}
			s.pass(10, flood)
			s.pass(959, nil)
			s.want(t, why)
			s.pass(1, nil)
			s.pass(960, nil) // long enough for a new beginning
			s.pass(10, flood)
			s.pass(60, nil)
			s.want(t, "")
		})
	}
}

// A little of each is no overload, nor is much of it now and then.
func TestNoOverload(t *testing.T) {
	s := newService()
	s.Ready()
	for range 1000 {
		s.pass(1, func(l *Load) {
			l.Budgets += budgetsRefused - 1
			l.Peers += peersDisplaced - 1
			l.Processor += processorRefused - 1
		})
		s.want(t, "")
	}
	for range 100 {
		s.pass(9, floods)
		s.pass(9, nil)
		s.want(t, "")
	}
	// One observation after a long time is not ten seconds.
	s.now = s.now.Add(time.Hour)
	s.load.Budgets += 1e9
	s.Observe(s.now, s.load)
	s.want(t, "")
}

// Whatever the load is, and however irregularly it is told, the service changes no faster than the documentation says.
func TestFlapsSlowly(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		s := newService()
		s.Ready()
		var withdrawn, announced []time.Time // when that began
		was, busy := Reason(""), false
		for s.now.Sub(epoch) < 24*time.Hour {
			s.now = s.now.Add(time.Duration(random.Int64N(int64(3 * time.Second))))
			if random.IntN(20) == 0 {
				busy = !busy
			}
			if busy || random.IntN(50) == 0 {
				s.load.Budgets += 1 + random.Uint64N(1000)
			}
			s.Observe(s.now, s.load)
			is := s.Withdrawn()
			if (was == "") == (is == "") {
				continue
			}
			if is != "" {
				withdrawn = append(withdrawn, s.now)
			} else {
				announced = append(announced, s.now)
			}
			was = is
		}
		calm := time.Duration(0)
		for i, at := range withdrawn {
			since := epoch
			if i > 0 {
				since = announced[i-1]
			}
			if lasted := at.Sub(since); lasted < patience {
				t.Fatalf("seed %d: withdrawn after %v", seed, lasted)
			}
			if calm = min(2*calm, calmMost); calm == 0 || at.Sub(since) >= calmMost {
				calm = calmLeast
			}
			if i < len(announced) && announced[i].Sub(at) < calm {
				t.Fatalf("seed %d: announced after %v, the %d. time", seed, announced[i].Sub(at), i+1)
			}
		}
		if len(withdrawn) == 0 {
			t.Fatalf("seed %d: it was never withdrawn", seed)
		}
	}
}
