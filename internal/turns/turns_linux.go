// Package turns finds out in tests whether workers write to the same memory, which makes a packet dearer the more workers there are.
//
// A processor that uses what another one has written since has to fetch it. With workers that run side by side, the time that this
// takes depends on how often they meet, and on a busy machine they hardly do. Here the workers are on different processors and take
// turns, with one packet in each. One of them has two turns before the others have theirs again: in the first one it fetches what the others
// have written, and in the second one there is nothing to fetch. Everything else is the same in both, whatever else the machine does.
//
// What a turn takes is the median of many. As each takes less than a microsecond, few are interrupted, and the median is processor
// time.
package turns

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

const (
	attempts = 5    // one of which must succeed: a fetch that the work causes itself is seen in each
	pairs    = 500  // of turns, of each worker
	spins    = 5000 // looks of a worker whether it is called, until it sleeps

	// leastFetch is what a fetch takes at least, between processors that have caches of their own.
	leastFetch = 10 * time.Nanosecond
)

// Run has so many workers do their work until they end. Before each of its turns, a worker calls next with its number, from 0 on, and
// always from the same goroutine. It ends when that returns false.
type Run func(workers int, next func(worker int) bool)

// Test fails when a turn after those of other workers takes longer than one after a turn of the same worker, by half of a fetch or more.
// There are 2 and 4 workers.
func Test(t *testing.T, run Run) {
	t.Helper()
	processors := cores(t)
	if len(processors) < 2 {
		t.Skip("needs two processors with caches of their own")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16)) // workers that wait for their turn keep no other one waiting
	before, after := compare(processors, 2, countTogether)
	fetch := after - before
	t.Logf("a fetch takes %v", fetch)
	if fetch < leastFetch {
		t.Skip("these processors have no caches of their own")
	}
	for _, workers := range []int{2, 4} {
		longer := fetch
		for n := 0; n < attempts && longer >= fetch/2; n++ {
			before, after := compare(processors, workers, run)
			t.Logf("a turn of one of %d workers takes %v after another one of its own, and %v after those of the others", workers, before, after)
			longer = after - before
		}
		if longer >= fetch/2 {
			t.Errorf("%d workers write to the same memory: a turn takes %v longer after those of others", workers, longer)
		}
	}
}

// countTogether is workers that do nothing but count, all in one place.
func countTogether(workers int, next func(worker int) bool) {
	var running sync.WaitGroup
	var all counter
	for worker := range workers {
		running.Go(func() {
			for next(worker) {
				all.Add(1)
			}
		})
	}
	running.Wait()
}

// counter has lines of the cache of its own.
type counter struct {
	_ cpu.CacheLinePad
	atomic.Int64
	_ cpu.CacheLinePad
}

// compare is what a turn takes after one of the same worker, and after those of all others.
func compare(processors []int, workers int, run Run) (own, others time.Duration) {
	r := ring{members: make([]member, workers), crowded: workers > len(processors)}
	for worker := range r.members {
		m := &r.members[worker]
		m.processor, m.call, m.wake = processors[worker%len(processors)], worker-workers, make(chan struct{}, 1)
		m.others, m.own = make([]time.Duration, 0, pairs), make([]time.Duration, 0, pairs)
	}
	run(workers, r.next)
	var afterOwn, afterOthers []time.Duration
	for i := range r.members {
		m := &r.members[i]
		afterOwn, afterOthers = append(afterOwn, m.own...), append(afterOthers, m.others...)
	}
	slices.Sort(afterOwn)
	slices.Sort(afterOthers)
	return afterOwn[len(afterOwn)/2], afterOthers[len(afterOthers)/2]
}

// ring is workers that are called round and round, and have a turn at some of these calls. So a worker waits in the same way before each
// of its turns.
type ring struct {
	call    counter // number of the call that is on
	members []member
	crowded bool // there are more workers than processors
}

// member is what a ring knows of a worker.
type member struct {
	_           cpu.CacheLinePad
	processor   int
	before      unix.CPUSet // processors that its thread had before
	pinned      bool
	call        int       // its latest one
	began       time.Time // of its latest turn
	own, others []time.Duration
	_           cpu.CacheLinePad

	// What others write, too.
	sleeps atomic.Bool
	wake   chan struct{}
	_      cpu.CacheLinePad
}

// next ends the turn of a worker, and waits for its next one. It returns false when it has had all of them.
func (r *ring) next(worker int) bool {
	m, size := &r.members[worker], len(r.members)
	if !m.pinned {
		m.pin()
	} else {
		took := time.Since(m.began)
		switch r.kind(m.call, worker) {
		case afterOthers:
			m.others = append(m.others, took)
		case afterOwn:
			m.own = append(m.own, took)
		}
		r.pass(m)
	}
	for (m.call+size)/size < 4*pairs*size {
		m.call += size
		r.await(m)
		if r.kind(m.call, worker) != none {
			m.began = time.Now()
			return true
		}
		r.pass(m)
	}
	m.unpin()
	return false
}

// await waits until a worker is called. It sleeps only if others need its processor to have their turns: what it has in its caches would
// be gone afterwards.
func (r *ring) await(m *member) {
	for n := 1; r.call.Load() != int64(m.call); n++ {
		if n%spins > 0 || !r.crowded {
			continue
		}
		m.sleeps.Store(true)
		if r.call.Load() != int64(m.call) || !m.sleeps.CompareAndSwap(true, false) {
			<-m.wake
		}
	}
}

// pass calls the next worker.
func (r *ring) pass(m *member) {
	call := m.call + 1
	r.call.Store(int64(call))
	if next := &r.members[call%len(r.members)]; r.crowded && next.sleeps.CompareAndSwap(true, false) {
		next.wake <- struct{}{}
	}
}

// kind is what kind of turn a worker has when it is called.
type kind uint8

const (
	none        kind = iota
	afterOthers      // the others had a turn in the round before
	afterOwn         // nobody had one since its own two rounds ago, which was afterOthers
	between          // it is one of the others
)

// kind is the kind of the turn of a worker at a call. The workers are measured one after the other, each over rounds in fours.
func (r *ring) kind(call, worker int) kind {
	round := call / len(r.members)
	measured := round/(4*pairs) == worker
	switch {
	case measured && round%4 == 0:
		return afterOthers
	case measured && round%4 == 2:
		return afterOwn
	case !measured && round%4 == 3:
		return between
	}
	return none
}

// pin keeps the goroutine on its processor.
func (m *member) pin() {
	runtime.LockOSThread()
	var one unix.CPUSet
	one.Set(m.processor)
	_ = unix.SchedGetaffinity(0, &m.before)
	_ = unix.SchedSetaffinity(0, &one) // cores has found the processor among those that the process may use
	m.pinned = true
}

func (m *member) unpin() {
	_ = unix.SchedSetaffinity(0, &m.before)
	runtime.UnlockOSThread()
}

// cores are processors that the process may use, one of each core, as those of one core have the same caches.
func cores(t *testing.T) (processors []int) {
	t.Helper()
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for n, left := 0, may.Count(); left > 0; n++ {
		if !may.IsSet(n) {
			continue
		}
		left--
		siblings, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", n))
		if err == nil && seen[string(siblings)] {
			continue
		}
		seen[string(siblings)] = true
		processors = append(processors, n)
	}
	return processors
}
