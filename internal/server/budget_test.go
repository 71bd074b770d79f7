package server

import (
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/udp"
)

// A million forged solicitations in the name of one address bring that address its budget and no more, while honest clients at
// other addresses are all answered. Without a bound everything is.
func TestSourceBudget(t *testing.T) {
	const flood, seconds, rate = 1_000_000, 10, 1000
	for _, limit := range []int{rate, 0} {
		synctest.Test(t, func(t *testing.T) {
			cfg := labConfig()
			cfg.SourceRate = limit
			sink := discard{}
			s := newServer(cfg, newHandler(t, cfg), [][]conn{{sink, sink}}, nil, slog.New(slog.DiscardHandler))
			w := newWorker(s, 0, Primary, sink)
			datagram := join(nonceAuth(), rs(solicitor))
			for n := range w.in {
				w.in[n] = udp.Message{Buf: datagram, N: len(datagram), Remote: mappedA}
			}
			const batches = flood / (batch - 1)
			for n := range batches {
				// The last of each batch is an honest client at an address of its own.
				w.in[batch-1].Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(n)}), 1024+uint16(n))
				w.process(batch)
				time.Sleep(seconds * time.Second / batches)
			}
			answered, refused := s.counters[0].udp[Solicitation].Load(), s.counters[0].drops.Get(drop.Budget)
			t.Logf("limit %d: %d of %d solicitations answered", limit, answered, batches*batch)
			switch {
			case answered+refused != batches*batch:
				t.Errorf("%d answered and %d refused", answered, refused)
			case limit == 0 && refused > 0:
				t.Errorf("%d refused without a bound", refused)
			case limit > 0 && answered > batches+rate*(burst+seconds)+rate:
				t.Errorf("%d answered", answered)
			case limit > 0 && answered < batches+rate*(burst+seconds-1):
				t.Errorf("%d answered: honest clients were refused", answered)
			}
		})
	}
}
