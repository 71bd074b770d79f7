package main

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/state"
	"github.com/teredo-suite/teredo/teredo"
)

// lastRun is what a run leaves for the next one. A client that was killed or restarted takes the same local port again, so that the
// NAT has the same mapping for it, and with the same mapping it keeps its address and its connections (W-ADDR-07).
type lastRun struct {
	Port    uint16     `json:"port"`    // local UDP port
	Address netip.Addr `json:"address"` // Teredo address
}

// memory keeps the lastRun in a file.
type memory struct {
	path   string
	log    *slog.Logger
	last   lastRun      // of the run before
	latest chan lastRun // of this run, for keep
}

// remember reads what the run before has left, unless a new address is wanted.
func (r *run) remember(log *slog.Logger) *memory {
	m := &memory{path: r.StateFile("last"), log: log, latest: make(chan lastRun, 1)}
	if r.NewAddress {
		return m
	}
	if err := state.Load(m.path, &m.last); err != nil {
		m.last = lastRun{}
		log.Warn("cannot read the address of the last run, using a new one", "error", err)
	}
	return m
}

// address is the Teredo address of the run before; zero: there is none.
func (m *memory) address() teredo.Address {
	a, _ := teredo.ParseAddress(m.last.Address)
	return a
}

// note has keep write down the address in use.
func (m *memory) note(port uint16, address netip.Addr) {
	select {
	case <-m.latest: // superseded
	default:
	}
	m.latest <- lastRun{port, address}
}

// keep writes down what note was told, until ctx ends. The disk may take its time, for which nobody else waits.
func (m *memory) keep(ctx context.Context) error {
	for {
		select {
		case l := <-m.latest:
			if err := state.Save(m.path, l); err != nil {
				m.log.Warn("cannot save the address; the next start will use another one", "error", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}
