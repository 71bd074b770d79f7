package budget_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
)

const second = int64(time.Second)

// A bucket gives its burst at once, and then its rate, however irregularly it is asked.
func TestBucket(t *testing.T) {
	r := budget.Rate{PerSecond: 10, Burst: 25}
	var b budget.Bucket
	given := 0
	for range 1000 {
		if b.Allow(0, r, 1) {
			given++
		}
	}
	if given != r.Burst {
		t.Errorf("%d at once, want %d", given, r.Burst)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for now := int64(0); now < 100*second; now += random.Int64N(second / 50) {
		if b.Allow(now, r, 1) {
			given++
		}
	}
	if most := r.Burst + 100*r.PerSecond; given > most || given < most-2 {
		t.Errorf("%d in 100 s, want %d", given, most)
	}
	if !b.Allow(1000*second, r, r.Burst) || b.Allow(1000*second, r, 1) {
		t.Error("several at once are not counted")
	}
}

// Each key has its own bucket.
func TestKeyed(t *testing.T) {
	k := budget.NewKeyed(1024, budget.Rate{PerSecond: 1, Burst: 3})
	for key := range uint64(100) {
		for n := range 5 {
			if got := k.Allow(second, key); got != (n < 3) {
				t.Fatalf("key %d, event %d: %t", key, n, got)
			}
		}
	}
}

// A flood of keys does not give those more that use up their budget, and those that come once get what they ask for.
func TestFloodOfKeys(t *testing.T) {
	k := budget.NewKeyed(256, budget.Rate{PerSecond: 10, Burst: 20})
	var hungry, strangers int
	for n := range 100_000 { // in 10 s
		now := int64(n) * second / 10_000
		if n%10 == 0 && k.Allow(now, 1) {
			hungry++
		}
		if k.Allow(now, uint64(n)+1000) {
			strangers++
		}
	}
	if strangers != 100_000 {
		t.Errorf("%d strangers of 100,000 got one", strangers)
	}
	if hungry > 2*(20+100) {
		t.Errorf("the one that asked 10,000 times got %d", hungry)
	}
}

func TestAllocatesNothing(t *testing.T) {
	k := budget.NewKeyed(64, budget.Rate{PerSecond: 1000, Burst: 1000})
	now := int64(0)
	if n := testing.AllocsPerRun(1000, func() { now++; k.Allow(now, uint64(now)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is given back may be had again, and repetitions leave half of the burst.
func TestReturnAndRepetition(t *testing.T) {
	k := budget.NewKeyed(64, budget.Rate{PerSecond: 1, Burst: 10})
	for range 100 {
		if !k.Allow(second, 7) {
			t.Fatal("what was given back is gone")
		}
		k.Return(7)
	}
	repeated := 0
	for range 10 {
		if k.AllowAgain(second, 7) {
			repeated++
		}
	}
	first := 0
	for range 20 {
		if k.Allow(second, 7) {
			first++
		}
	}
	if repeated != 5 || first != 5 {
		t.Errorf("%d repetitions and then %d first events, want 5 and 5", repeated, first)
	}
}
