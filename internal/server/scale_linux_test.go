//go:build !race

package server

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/turns"
	"github.com/teredo-suite/teredo/internal/udp"
)

// More workers do not make an answer dearer: they share nothing that they write but the budgets of IPv4 addresses, and their clients
// have different ones.
func TestWorkersScale(t *testing.T) {
	turns.Test(t, func(workers int, next func(worker int) bool) {
		cfg := labConfig()
		cfg.SourceRate = 1_000_000
		var groups [][]conn
		for worker := range workers {
			groups = append(groups, []conn{&asking{worker: worker, next: next}})
		}
		s := newServer(cfg, newHandler(t, cfg), groups, func() (nativeSender, error) { return noNative{}, nil }, slog.New(slog.DiscardHandler))
		s.openNatives()
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		asked := uint64(0)
		for _, group := range groups {
			asked += group[0].(*asking).asked
		}
		if n := s.Status().Counters.Advertisements; n != asked || n == 0 {
			t.Errorf("%d of %d solicitations are answered", n, asked)
		}
	})
}

// asking is a socket to which a solicitation comes in each turn of its worker, from one client after the other. Their number is odd, so that each has turns of every kind.
type asking struct {
	_      cpu.CacheLinePad
	worker int
	next   func(worker int) bool
	asked  uint64
	_      cpu.CacheLinePad
}

func (a *asking) ReadBatch(ms []udp.Message) (int, error) {
	if !a.next(a.worker) {
		return 0, net.ErrClosed
	}
	from := netip.AddrFrom4([4]byte{203, byte(a.worker), 0, byte(a.asked % 7)})
	ms[0] = udp.Message{Buf: solicited, N: len(solicited), Remote: netip.AddrPortFrom(from, 4000)}
	a.asked++
	return 1, nil
}

func (a *asking) WriteBatch(ms []udp.Message) (int, error) { return len(ms), nil }
func (a *asking) Close() error                             { return nil }

var solicited = rs(solicitor)
