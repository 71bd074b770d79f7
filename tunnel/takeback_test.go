package tunnel_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/tunnel"
)

// Whenever the host's network changes, and before the address does, the workers have all flows back. They hand them over again.
func TestAllFlowsGoBack(t *testing.T) {
	for name, change := range map[string]func(o *offload){
		"nothing new":       func(o *offload) { o.client.NetworkChanged() },
		"unplugged":         func(o *offload) { o.client.Unplug() },
		"another network":   func(o *offload) { o.client.Move(o.Network) },
		"another NAT":       func(o *offload) { o.client.Move(o.NAT(natsim.Cone()).Network) },
		"native IPv6 comes": func(o *offload) { o.yield("eth0") },
	} {
		t.Run(name, func(t *testing.T) {
			offloaded(t, func(t *testing.T, o *offload) {
				o.send()
				o.took(at(o.relay))
				start := time.Now()
				change(o)
				o.Settle()
				if took := o.gaveBack().At.Sub(start); took != 0 {
					t.Errorf("after %v", took)
				}
				o.yield("")
				o.client.Move(o.Network)
				time.Sleep(time.Minute)
				o.flow.Local = o.client.Addr()
				for range 2 {
					o.client.Send(o.host.Addr(), "again")
					o.host.Next(time.Minute)
				}
				o.took(at(o.relay))
			})
		})
	}
}

// yield tells the client through which interface there is native IPv6.
func (o *offload) yield(native string) {
	o.t.Helper()
	if err := o.client.Tunnel.NetworkChanged(context.Background(), tunnel.Network{Native: native}); err != nil {
		o.t.Fatal(err)
	}
}

// A client whose mapping changes has its flows back before the interface gets the new address.
func TestFlowsOfOldAddress(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		w, kernel := newWorld(t, in), tunnel.NewFakeKernel()
		nat, host := w.NAT(natsim.PortRestricted()), w.Native()
		var flowsThen []int
		c := nat.Client(w.server, func(cfg *tunnel.ClientConfig) {
			configure := cfg.Configure
			cfg.Kernel = opens(kernel)
			cfg.Configure = func(old, new netip.Addr) error {
				flowsThen = append(flowsThen, kernel.Flows())
				return configure(old, new)
			}
		})
		old := c.AwaitAddr(time.Minute)
		for range 2 {
			c.Send(host.Addr(), "hello")
			host.Next(time.Second)
		}
		if kernel.Flows() != 1 {
			t.Fatalf("the kernel has %d flows", kernel.Flows())
		}
		nat.Rebind()
		c.AwaitOtherAddr(refreshInterval+2*hop, old)
		if calls := kernel.Calls("remove"); len(calls) != 1 || calls[0].Flow != (kernelpath.Flow{Local: old, Peer: host.Addr()}) {
			t.Errorf("removed: %v", calls)
		}
		for i, n := range flowsThen {
			if n != 0 {
				t.Errorf("configured %d times: the kernel had %d flows", i+1, n)
			}
		}
	})
}

// A relay whose network changes takes all flows back.
func TestRelayFlowsGoBack(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		kernel := tunnel.NewFakeKernel()
		server, host := in.Server(), in.Native()
		relay := in.Relay(func(cfg *tunnel.RelayConfig) { cfg.Kernel = opens(kernel) })
		c := in.NAT(natsim.PortRestricted()).Client(server)
		c.AwaitAddr(time.Minute)
		send := func() {
			host.Send(c.Addr(), "hello")
			c.Next(time.Second)
		}
		send()
		send()
		if kernel.Flows() != 1 {
			t.Fatalf("the kernel has %d flows", kernel.Flows())
		}
		if err := relay.Tunnel.NetworkChanged(context.Background(), tunnel.RelayNetwork{}); err != nil {
			t.Fatal(err)
		}
		in.Settle()
		if n := kernel.Flows(); n != 0 {
			t.Errorf("the kernel has %d flows still", n)
		}
		send()
		if n := kernel.Flows(); n != 1 {
			t.Errorf("the kernel has %d flows then", n)
		}
	})
}

// When the kernel takes no flow the workers carry all packets, and try again later.
func TestKernelRefuses(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.kernel.Refuse(errors.New("no uplink"))
		f := o.client.Stream(o.host.Addr(), 20*time.Millisecond, 100)
		f.Wait(round)
		if lost := f.Lost(); len(lost) != 0 || o.kernel.Flows() != 0 || len(o.kernel.Calls("send")) != 0 {
			t.Errorf("lost %v, %d flows", lost, o.kernel.Flows())
		}
		if n := o.client.Status().Offloads.KernelFlows; n != 0 {
			t.Errorf("%d flows in the status", n)
		}
		if n := len(o.kernel.Calls("add")); n < 5 || n > 6 || len(o.kernel.Calls("remove")) != 0 {
			t.Errorf("it was asked %d times in five rounds, or asked to remove what it has not", n)
		}
		o.kernel.Refuse(nil)
		o.send()
		o.took(at(o.relay))
	}, introduced)
}

// The kernel carries nothing any more when the program ends.
func TestKernelClosed(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		o.client.Stop()
		if n := len(o.kernel.Calls("close")); n != 1 {
			t.Errorf("closed %d times", n)
		}
	})
}
