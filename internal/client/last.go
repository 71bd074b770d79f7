package client

import (
	"context"
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
	last   lastRun      // of the run before
	latest chan lastRun // of this run, for keep
}

// file is the path of a file that a run leaves for the next one, empty for none.
func (o *Options) file(kind string) string {
	if o.State == "" {
		return ""
	}
	return o.State + kind
}

// remember reads what the run before has left, unless a new address is wanted.
func (o *Options) remember() *memory {
	m := &memory{path: o.file("last"), latest: make(chan lastRun, 1)}
	if o.NewAddress {
		return m
	}
	if err := state.Load(m.path, &m.last); err != nil {
		m.last = lastRun{}
		o.Log.Warn("cannot read the address of the last run, using a new one", "error", err)
	}
	return m
}

// address is the Teredo address of the run before; zero: there is none.
func (m *memory) address() teredo.Address {
	a, _ := teredo.ParseAddress(m.last.Address)
	return a
}

// Note has Keep write down the address in use.
func (h *Host) Note(address netip.Addr) {
	select {
	case <-h.memory.latest: // superseded
	default:
	}
	h.memory.latest <- lastRun{h.ServicePort().LocalAddr().Port(), address}
}

// Keep writes down what Note was told, until ctx ends. The disk may take its time, for which nobody else waits.
func (h *Host) Keep(ctx context.Context) error {
	for {
		select {
		case l := <-h.memory.latest:
			h.keep(l)
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *Host) keep(l lastRun) {
	if err := state.Save(h.memory.path, l); err != nil {
		h.Log.Warn("cannot save the address; the next start will use another one", "error", err)
	}
}
