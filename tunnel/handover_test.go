package tunnel_test

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// round is how often the kernel is asked, and a flow is added anew; idle is when it goes back.
const (
	round = time.Second
	idle  = 30 * time.Second
)

// offload is a client behind a NAT whose kernel carries flows, and a native host that it has a path to.
type offload struct {
	*world
	kernel *tunnel.FakeKernel
	client *natsim.Client
	host   *natsim.Native
	flow   kernelpath.Flow
}

// opens opens a kernel at once.
func opens(k tunnel.Kernel) func() (tunnel.Kernel, error) {
	return func() (tunnel.Kernel, error) { return k, nil }
}

// offloaded runs a scenario. The path is known, and no packet has been carried on it yet.
func offloaded(t *testing.T, scenario func(t *testing.T, o *offload), options ...func(*tunnel.FakeKernel)) {
	t.Helper()
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		o := &offload{world: newWorld(t, in), kernel: tunnel.NewFakeKernel()}
		for _, option := range options {
			option(o.kernel)
		}
		o.client = o.NAT(natsim.PortRestricted()).Client(o.server, func(cfg *tunnel.ClientConfig) { cfg.Kernel = opens(o.kernel) })
		o.client.AwaitAddr(time.Minute)
		o.host = o.Native()
		o.flow = kernelpath.Flow{Local: o.client.Addr(), Peer: o.host.Addr()}
		o.client.Send(o.host.Addr(), "hello")
		o.expect(o.host.Stack, "hello", o.Now()+clientToNative)
		scenario(t, o)
	})
}

// introduced has a kernel whose flows want an introduction.
func introduced(k *tunnel.FakeKernel) { k.Introduce = true }

// send sends a packet on the path.
func (o *offload) send() {
	o.t.Helper()
	o.client.Send(o.host.Addr(), "more")
	o.expect(o.host.Stack, "more", o.Now()+viaRelay)
}

// at is the relay's endpoint.
func at(r *natsim.Relay) netip.AddrPort {
	return netip.AddrPortFrom(r.Host.Addr(), r.Conn.LocalAddr().Port())
}

// took checks that the kernel got the flow just now, once, and returns the call.
func (o *offload) took(remote netip.AddrPort) (call tunnel.KernelCall) {
	o.t.Helper()
	calls := o.kernel.Calls("add")
	if len(calls) != 1 || calls[0].Flow != o.flow || calls[0].Remote != remote {
		o.t.Fatalf("added: %v, want %v to %v", calls, o.flow, remote)
	}
	return calls[0]
}

// gaveBack checks that the flow went back once.
func (o *offload) gaveBack() (call tunnel.KernelCall) {
	o.t.Helper()
	calls := o.kernel.Calls("remove")
	if len(calls) != 1 || calls[0].Flow != o.flow || o.kernel.Flows() != 0 {
		o.t.Fatalf("removed: %v, and %d flows are left; want %v", calls, o.kernel.Flows(), o.flow)
	}
	return calls[0]
}

// The kernel gets a flow with the first packet that a worker sends on its path, and learns when the path was heard of.
func TestHandOver(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		if calls := o.kernel.Calls("add"); len(calls) != 0 {
			t.Errorf("before a worker has carried anything: %v", calls)
		}
		heard := time.Now().Add(-viaRelay) // the client's test was answered then
		start := time.Now()
		o.send()
		if call := o.took(at(o.relay)); !call.At.Equal(start) || !call.Heard.Equal(heard) {
			t.Errorf("added after %v, heard %v before", call.At.Sub(start), start.Sub(call.Heard))
		}
		if s := o.client.Status(); !s.Offloads.KernelPath || s.Offloads.KernelFlows != 1 {
			t.Errorf("%+v", s.Offloads)
		}
		if s := o.relay.Status(); s.Offloads.KernelPath || s.Offloads.KernelFlows != 0 {
			t.Errorf("of a relay without: %+v", s.Offloads)
		}
		if calls := o.kernel.Calls("send"); len(calls) != 0 {
			t.Errorf("introduced: %v", calls)
		}
	})
}

// A packet that a worker delivers tells of the flow as well.
func TestHandOverOfReceived(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.host.Send(o.client.Addr(), "answer")
		o.expect(o.client.Stack, "answer", o.Now()+viaRelay)
		if call := o.took(at(o.relay)); !call.Heard.Equal(call.At) {
			t.Errorf("heard %v before", call.At.Sub(call.Heard))
		}
	})
}

// A relay hands over each client's flow with each host.
func TestRelayHandsOver(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		kernel := tunnel.NewFakeKernel()
		server, host, other := in.Server(), in.Native(), in.Native()
		in.Relay(func(cfg *tunnel.RelayConfig) { cfg.Kernel = opens(kernel) })
		c := in.NAT(natsim.PortRestricted()).Client(server)
		c.AwaitAddr(time.Minute)
		for _, h := range []*natsim.Native{host, other} {
			c.Send(h.Addr(), "hello")
			h.Next(time.Second)
			h.Send(c.Addr(), "answer")
			c.Next(time.Second)
		}
		flows := map[kernelpath.Flow]bool{}
		for _, call := range kernel.Calls("add") {
			if call.Remote != teredo.Mapped(c.Addr()) || flows[call.Flow] {
				t.Errorf("%+v", call)
			}
			flows[call.Flow] = true
		}
		if len(flows) != 2 || !flows[kernelpath.Flow{Local: host.Addr(), Peer: c.Addr()}] || !flows[kernelpath.Flow{Local: other.Addr(), Peer: c.Addr()}] {
			t.Errorf("added: %v", flows)
		}
	})
}

// A flow that workers go on carrying is added anew once a second, so that the kernel's path is up to date.
func TestHandOverAgain(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		start := time.Now()
		o.client.Stream(o.host.Addr(), 20*time.Millisecond, 250).Wait(round) // 4980 ms
		calls := o.kernel.Calls("add")
		for i, call := range calls {
			if want := time.Duration(i) * round; call.At.Sub(start) != want || call.Flow != o.flow {
				t.Errorf("addition %d after %v, want %v: %+v", i, call.At.Sub(start), want, call)
			}
		}
		if len(calls) != 5 {
			t.Errorf("added %d times", len(calls))
		}
	})
}

// The other end is introduced to a flow by at most three bubbles, 2 s apart (RFC 4380 §5.2.6), when the kernel asks for it.
func TestIntroductions(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		start, want := time.Now(), teredo.AppendBubble(nil, o.client.Addr(), o.host.Addr(), peer.BubbleHopLimit)
		o.client.Stream(o.host.Addr(), 20*time.Millisecond, 500).Wait(round)
		calls := o.kernel.Calls("send")
		for i, call := range calls {
			if call.At.Sub(start) != time.Duration(2*i)*time.Second || !bytes.Equal(call.Packet, want) {
				t.Errorf("bubble %d after %v: %x, want %x", i, call.At.Sub(start), call.Packet, want)
			}
		}
		if len(calls) != 3 {
			t.Errorf("%d bubbles", len(calls))
		}
	}, introduced)
}

// What the kernel carries shows in the counters and the list of peers within a round, and counts once.
func TestKernelUsageCounts(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		before := o.client.Status()
		o.kernel.Carry(o.flow, 1000, 3000)
		o.kernel.Fail(5)
		check := func(wantSent, wantReceived, wantFailed uint64) {
			t.Helper()
			s := o.client.Status()
			if sent, received := s.SentBytes-before.SentBytes, s.ReceivedBytes-before.ReceivedBytes; sent != 100*wantSent || received != 100*wantReceived {
				t.Errorf("%d bytes sent, %d received", sent, received)
			}
			sent, received, failed := s.SentPackets-before.SentPackets, s.ReceivedPackets-before.ReceivedPackets, s.Drops["kernel-path"]
			if sent != wantSent || received != wantReceived || failed != wantFailed {
				t.Errorf("%d sent, %d received, %d failed; want %d, %d, %d", sent, received, failed, wantSent, wantReceived, wantFailed)
			}
		}
		for range 3 {
			time.Sleep(round)
			check(1000, 3000, 5)
		}
		o.kernel.Carry(o.flow, 1, 2)
		o.kernel.Fail(1)
		carried := time.Now()
		time.Sleep(round)
		check(1001, 3002, 6)
		infos, err := o.client.Tunnel.Peers(context.Background())
		if err != nil || len(infos) != 1 {
			t.Fatalf("%v, %v", infos, err)
		}
		// One of those that the program has sent was the packet that waited for the path.
		if i := infos[0]; i.SentPackets != 1001+2 || i.ReceivedPackets != 3002 || i.HeardSeconds != time.Since(carried).Seconds() || i.CarriedBy != "kernel" {
			t.Errorf("%+v", i)
		}
		time.Sleep(time.Minute) // idle flows go back
		if infos, err = o.client.Tunnel.Peers(context.Background()); err != nil || infos[0].CarriedBy != "program" {
			t.Errorf("%+v, %v", infos, err)
		}
	})
}

// The status tells of flows whose bursts the kernel leaves to the program, as long as it does.
func TestFlowsWithoutBursts(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		for _, leave := range []bool{false, true, false} {
			o.kernel.LeaveBursts(o.flow, leave)
			want := 0
			if leave {
				want = 1
			}
			time.Sleep(round)
			if s := o.client.Status().Offloads; s.FlowsWithoutBursts != want || s.KernelFlows != 1 {
				t.Errorf("%+v, want %d flows without bursts", s, want)
			}
		}
	})
}

// A flow that only the kernel carries keeps its path: nothing is tested anew, and no worker gets to see it (K-07, X-COM-02).
func TestKernelKeepsPath(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		start := o.Now()
		for range 120 {
			time.Sleep(5 * time.Second)
			o.kernel.Carry(o.flow, 1, 1)
		}
		time.Sleep(round)
		for _, r := range o.Sent(natsim.Kind("echo request")) {
			if r.At > start {
				t.Errorf("tested: %v", r)
			}
		}
		if calls := o.kernel.Calls("remove"); len(calls) != 0 {
			t.Errorf("removed: %v", calls)
		}
		o.client.Send(o.host.Addr(), "more")
		o.Settle()
		sent := o.Sent(natsim.Kind("data"))
		if last := sent[len(sent)-1]; last.At != o.Now() || last.Packet.Dst != at(o.relay) {
			t.Errorf("sent last at %v: %v", o.Now(), last)
		}
	})
}

// A flow that was not used for 30 s goes back at the next look, and is offered again with its next packet.
func TestIdleFlowGoesBack(t *testing.T) {
	for name, lastUse := range map[string]time.Duration{"never used": 0, "sent": 20 * time.Second, "received": 20 * time.Second} {
		t.Run(name, func(t *testing.T) {
			offloaded(t, func(t *testing.T, o *offload) {
				o.send()
				used := o.took(at(o.relay)).At
				if lastUse > 0 {
					time.Sleep(lastUse)
					used = time.Now()
					o.kernel.Carry(o.flow, map[string]uint64{"sent": 1}[name], map[string]uint64{"received": 1}[name])
				}
				time.Sleep(idle + 2*round)
				// A use is noticed at the look after it.
				if after := o.gaveBack().At.Sub(used); after < idle || after > idle+2*round {
					t.Errorf("gone back after %v", after)
				}
				start := o.Now()
				o.client.Send(o.host.Addr(), "again")
				o.host.Next(time.Minute)
				o.client.Send(o.host.Addr(), "again")
				o.expect(o.host.Stack, "again", o.Now()+viaRelay)
				o.took(at(o.relay))
				if o.Now()-start > clientToNative+viaRelay {
					t.Errorf("%v for two packets", o.Now()-start)
				}
			})
		})
	}
}

// When a host is behind another relay, the flow by way of the old one goes back at the next look, or moves with the next packet.
func TestFlowOfMovedPeer(t *testing.T) {
	for name, quiet := range map[string]bool{"quiet": true, "in use": false} {
		t.Run(name, func(t *testing.T) {
			offloaded(t, func(t *testing.T, o *offload) {
				o.send()
				o.took(at(o.relay))
				relay := o.Relay()
				o.host.Via(relay)
				o.host.Send(o.client.Addr(), "by another way")
				if got := o.client.Next(time.Second); got.Data() != "by another way" {
					t.Fatalf("received %s", got.Kind())
				}
				if quiet {
					time.Sleep(round)
					o.gaveBack()
				}
				o.send()
				o.took(at(relay))
				if calls := o.kernel.Calls("remove"); !quiet && len(calls) != 1 || quiet && len(calls) != 0 || o.kernel.Flows() != 1 {
					t.Errorf("removed: %v, %d flows", calls, o.kernel.Flows())
				}
			})
		})
	}
}

// When a relay forgets a client, its flow goes back (ST-C-06).
func TestFlowOfForgottenPeer(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		kernel := tunnel.NewFakeKernel()
		server, host := in.Server(), in.Native()
		in.Relay(func(cfg *tunnel.RelayConfig) { cfg.Kernel, cfg.Capacity = opens(kernel), 2 })
		var flows []kernelpath.Flow
		for range 2 {
			c := in.NAT(natsim.PortRestricted()).Client(server)
			c.AwaitAddr(time.Minute)
			flows = append(flows, kernelpath.Flow{Local: host.Addr(), Peer: c.Addr()})
			for range 2 {
				host.Send(c.Addr(), "hello")
				c.Next(time.Second)
			}
		}
		time.Sleep(round)
		if calls := kernel.Calls("remove"); len(calls) != 1 || calls[0].Flow != flows[0] || kernel.Flows() != 1 {
			t.Errorf("removed: %v, %d flows left", calls, kernel.Flows())
		}
	})
}
