package server

import (
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// More workers must not make a datagram dearer: each has its sockets, and they share nothing that all of them write. The processor
// time of the workers' threads says so on a machine with any number of processors, whatever else it does.
func TestWorkersScale(t *testing.T) {
	const (
		attempts = 5
		most     = 2.0 // times the processor time of a datagram with one worker
	)
	alone := time.Duration(0)
	for _, workers := range []int{1, 2, 4} {
		var costs []time.Duration
		for range attempts {
			costs = append(costs, costOfAnswer(t, workers))
		}
		cost := slices.Min(costs) // what others do to the caches only adds to it
		t.Logf("%d workers: %v for each solicitation", workers, cost)
		if alone == 0 {
			alone = cost
		}
		if float64(cost) > most*float64(alone) {
			t.Errorf("a solicitation takes %v of %d workers, and %v of one", cost, workers, alone)
		}
	}
}

// costOfAnswer is the processor time that workers take to answer a router solicitation. All solicitations wait in the sockets
// before the workers begin, so all batches are full.
func costOfAnswer(t *testing.T, workers int) time.Duration {
	t.Helper()
	const clients, each = 32, 64
	cfg := Config{Primary: netip.MustParseAddr("127.0.0.1"), Filter: teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}
	groups, err := listen(cfg, 0, workers)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(cfg, newHandler(t, cfg), groups, func() (nativeSender, error) { return noNative{}, nil }, slog.New(slog.DiscardHandler))
	s.openNatives()
	defer s.Close()
	to := groups[0][Primary].(*udp.Conn).LocalAddr()
	var endpoints []endpoint
	for range clients {
		endpoints = append(endpoints, newEndpoint(t, "127.0.0.3"))
	}
	for range each {
		for _, client := range endpoints { // in turns, so that no answers can leave as one
			client.send(to, rs(solicitor))
		}
	}
	var running sync.WaitGroup
	var used atomic.Int64
	for i := range groups {
		w := newWorker(s, groups[i], Primary, noNative{})
		running.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for begun := threadTime(t); ; {
				n, err := w.conns[Primary].ReadBatch(w.in)
				if err != nil {
					return
				}
				w.process(n)
				now := threadTime(t)
				used.Add(int64(now - begun))
				begun = now
				if s.counters.solicitations.Load() == clients*each {
					s.Close() // ends the others
				}
			}
		})
	}
	running.Wait()
	if n := s.counters.udp[Solicitation].Load(); n != clients*each {
		t.Fatalf("%d solicitations are answered, want %d", n, clients*each)
	}
	return time.Duration(used.Load()) / (clients * each)
}

// threadTime is the processor time that the thread has had.
func threadTime(t *testing.T) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Error(err)
	}
	return time.Duration(ts.Nano())
}
