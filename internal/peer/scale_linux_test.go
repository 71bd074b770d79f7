//go:build !race

package peer_test

import (
	"sync"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/turns"
	"github.com/teredo-suite/teredo/teredo"
)

// More workers do not make a packet dearer: a look-up writes to the entry of its peer and to nothing else.
func TestTableScales(t *testing.T) {
	turns.Test(t, func(workers int, next func(worker int) bool) {
		const peersEach = 15 // odd, so that each has turns of every kind
		c := peer.NewClient(epoch, peer.Config{Capacity: 1024, Filter: labs, Drops: new(drop.Counters)})
		c.SetAddress(own)
		for n := range workers * peersEach {
			c.Establish(client(n), teredo.Mapped(client(n)), 0)
		}
		var running sync.WaitGroup
		for worker := range workers {
			var out, in [peersEach][]byte
			for i := range peersEach {
				other := client(worker*peersEach + i)
				out[i], in[i] = sized(own, other, 1, teredo.MTU), sized(other, own, 1, teredo.MTU)
			}
			running.Go(func() {
				for n := 0; next(worker); n++ {
					i := n % peersEach
					_, _, sent := c.Table().Outgoing(out[i], 1, teredo.MTU, 1)
					received := incoming(c.Table(), in[i], teredo.Mapped(client(worker*peersEach+i)), 0, 1)
					if sent != peer.Carry || received != peer.Carry {
						t.Errorf("the packets of peer %d are not carried", i)
					}
				}
			})
		}
		running.Wait()
	})
}
