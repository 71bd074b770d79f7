package server

import (
	"context"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/teredo"
)

// Kernel answers solicitations and forwards bubbles in the kernel, by the rules of Handler. What it does not know for certain comes to
// the sockets.
type Kernel interface {
	Sources() *budget.Keyed // what both draw on; nil: there is no bound
	// SetSecrets and SetFilter change what the kernel goes by. When they fail, the kernel answers nothing any more.
	SetSecrets(s *Secrets) error
	SetFilter(f teredo.Filter) error
	Counters() (Counters, error)
	Interfaces() map[string]string // at which it answers, with the place: xdp or tcx
	Run(ctx context.Context)       // follows the changes of this host
	Close() error
}

// Budget is the budget of IPv4 addresses, of which a Kernel has to make Sources: so many, and the moment from which time counts.
func (s *Server) Budget() (rate budget.Rate, sources int, started time.Time) {
	if r := s.cfg.SourceRate; r > 0 {
		rate = budget.Rate{PerSecond: r, Burst: burst * r}
	}
	return rate, sourcesAtOnce, s.started
}

// SetKernel has a Kernel answer beside the sockets. Call it before Run, which closes it.
func (s *Server) SetKernel(k Kernel) {
	s.kernel, s.sources = k, k.Sources()
}

// tellKernel changes what the kernel goes by.
func (s *Server) tellKernel(change func(Kernel) error) {
	if s.kernel == nil {
		return
	}
	if err := change(s.kernel); err != nil {
		s.log.Error("the program answers everything instead of the kernel", "error", err)
	}
}
