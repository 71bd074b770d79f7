package teredonet_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/leak"
	"github.com/teredo-suite/teredo/internal/netstack"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/teredonet"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// patience is how long a busy machine may take for what takes moments.
const patience = time.Minute

// world is an internet with what every client needs. It runs in real time.
type world struct {
	*natsim.Internet
	t      *testing.T
	server *natsim.Server
	relay  *natsim.Relay
}

// inWorld runs a scenario.
func inWorld(t *testing.T, scenario func(t *testing.T, w *world)) {
	t.Parallel()
	natsim.Live(t, 1, func(t *testing.T, in *natsim.Internet) {
		scenario(t, &world{in, t, in.Server(), in.Relay()})
	})
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// up returns a Net at a host.
func (w *world) up(h *natsim.Host) *teredonet.Net {
	w.t.Helper()
	n, err := teredonet.Over(h.ClientConfig(w.server), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := n.Close(); err != nil {
			w.t.Errorf("ended with: %v", err)
		}
	})
	if _, err := n.WaitAddr(w.context(), netip.Addr{}); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// client returns a Net behind a NAT.
func (w *world) client() *teredonet.Net {
	w.t.Helper()
	return w.up(w.NAT(natsim.PortRestricted()).Host())
}

// native is a host of the native internet.
func (w *world) native() *netstack.Stack {
	w.t.Helper()
	s, err := netstack.New(teredo.MTU)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	if err := s.SetAddress(w.Attach(s)); err != nil {
		w.t.Fatal(err)
	}
	return s
}
