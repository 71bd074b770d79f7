package tunnel_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/tunnel"
)

// A relay that takes over the clients of the one before goes on where that was: no packet waits, and no bubble is sent, from either side.
// TestRelayRestart has the exchange of a relay that takes over none.
func TestRelaySuccession(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		for _, ends := range [][2]*natsim.Stack{{c.Stack, host.Stack}, {host.Stack, c.Stack}} {
			w.pinging(ends[0], ends[1], 2*time.Second)
			w.succeed(w.relay)
			start := w.Now()
			answered := w.pinging(ends[0], ends[1], time.Second)
			for i, at := range answered {
				if want := start + time.Duration(i)*200*time.Millisecond + 2*viaRelay; at != want {
					t.Errorf("from %v: ping %d after the succession was answered at %v, want %v", ends[0].Addr(), i, at, want)
				}
			}
		}
	})
}

// succeed has a relay take the place of another one, and returns the flows that the kernel carried.
func (w *world) succeed(r *natsim.Relay, options ...func(*tunnel.RelayConfig)) (flows []tunnel.Flow) {
	legacy := r.Tunnel.Legacy()
	var all [][]byte
	for records := range legacy.Records {
		all = append(all, bytes.Clone(records))
	}
	legacy.Records = slices.Values(all)
	r.Stop()
	r.Restart(append(options, func(cfg *tunnel.RelayConfig) { cfg.Legacy = legacy })...)
	return legacy.Flows
}

// The kernel carries the flows for the new relay, too, before that says that it is ready.
func TestKernelFlowsSuccession(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		before, after := tunnel.NewFakeKernel(), tunnel.NewFakeKernel()
		relay := w.Relay(func(cfg *tunnel.RelayConfig) { cfg.Kernel = opens(before) })
		c, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		host.Via(relay)
		w.pinging(c.Stack, host.Stack, 2*time.Second)
		flow := kernelpath.Flow{Local: host.Addr(), Peer: c.Addr()}
		if calls := before.Calls("add"); len(calls) == 0 || calls[0].Flow != flow {
			t.Fatalf("the kernel has got %v, want %v", calls, flow)
		}
		ready := 0
		flows := w.succeed(relay, func(cfg *tunnel.RelayConfig) {
			cfg.Kernel = opens(after)
			cfg.Ready = func() { ready = after.Flows() }
		})
		if !slices.Equal(flows, []tunnel.Flow{flow}) {
			t.Errorf("flows %v, want %v", flows, flow)
		}
		time.Sleep(time.Millisecond)
		if ready != 1 {
			t.Errorf("the kernel carries %d flows when the relay is ready, want 1", ready)
		}
		if calls := after.Calls("add"); len(calls) != 1 || calls[0].Flow != flow {
			t.Errorf("the kernel has got %v, want %v", calls, flow)
		}
	})
}
