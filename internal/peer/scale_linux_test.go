package peer_test

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// More workers must not make a packet dearer: each look-up writes to the entry of its peer and to nothing else. The processor time of
// the workers' threads says so on a machine with any number of processors, whatever else it does.
func TestTableScales(t *testing.T) {
	const (
		attempts = 5
		most     = 2.0 // times the processor time of a packet with one worker; all writing to one line takes more
	)
	alone := time.Duration(0)
	for _, workers := range []int{1, 2, 4} {
		var costs []time.Duration
		for range attempts {
			costs = append(costs, costOfPackets(t, workers))
		}
		cost := slices.Min(costs) // what others do to the caches only adds to it
		t.Logf("%d workers: %v for 1000 packets each way", workers, cost)
		if alone == 0 {
			alone = cost
		}
		if float64(cost) > most*float64(alone) {
			t.Errorf("1000 packets each way take %v of %d workers, and %v of one", cost, workers, alone)
		}
	}
}

// costOfPackets is the processor time that workers take for 1000 packets each way. Each has its own peers.
func costOfPackets(t *testing.T, workers int) time.Duration {
	t.Helper()
	const peersEach, rounds = 64, 2000 / slowdown
	c := peer.NewClient(epoch, peer.Config{Capacity: 1024, Filter: labs, Drops: new(drop.Counters)})
	c.SetAddress(own)
	for n := range workers * peersEach {
		c.Establish(client(n), teredo.Mapped(client(n)), 0)
	}
	var running sync.WaitGroup
	var used atomic.Int64
	for worker := range workers {
		running.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var out, in [peersEach][]byte
			for i := range peersEach {
				other := client(worker*peersEach + i)
				out[i], in[i] = sized(own, other, 1, teredo.MTU), sized(other, own, 1, teredo.MTU)
			}
			begun := threadTime(t)
			for range rounds {
				for i := range peersEach {
					_, _, sent := c.Table().Outgoing(out[i], 1, teredo.MTU, 1)
					received := incoming(c.Table(), in[i], teredo.Mapped(client(worker*peersEach+i)), 0, 1)
					if sent != peer.Carry || received != peer.Carry {
						t.Errorf("the packets of peer %d are not carried", i)
						return
					}
				}
			}
			used.Add(int64(threadTime(t) - begun))
		})
	}
	running.Wait()
	return time.Duration(used.Load()) * 1000 / time.Duration(workers*peersEach*rounds)
}

// threadTime is the processor time that the thread has had.
func threadTime(t *testing.T) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Error(err)
	}
	return time.Duration(ts.Nano())
}
