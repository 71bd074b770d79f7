package tunnel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/tunnel"
)

// pinging has one end ping the other, five times a second for the time given, and returns when each ping was answered, or
// -1 if it was not.
func (w *world) pinging(from, to *natsim.Stack, long time.Duration) (answered []time.Duration) {
	w.t.Helper()
	const gap = 200 * time.Millisecond
	n := int(long / gap)
	for i := range n {
		from.Ping(to.Addr(), fmt.Sprint(i))
		time.Sleep(gap)
		answered = append(answered, -1)
	}
	time.Sleep(gap)
	for _, d := range from.Received() {
		var i int
		if _, err := fmt.Sscan(d.Data(), &i); err == nil && d.Kind() == "echo reply" && i < n {
			answered[i] = d.At
		}
	}
	return answered
}

// A relay that comes back knows no client. The first packet from either side finds the way: the relay's bubble goes to the client
// through its server (2), and the answer comes directly (3). Not a packet is lost after the relay's return (R-RX-03).
func TestRelayRestart(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		for _, ends := range [][2]*natsim.Stack{{c.Stack, host.Stack}, {host.Stack, c.Stack}} {
			w.pinging(ends[0], ends[1], 2*time.Second)
			w.relay.Stop()
			w.pinging(ends[0], ends[1], 3*time.Second)
			w.relay.Restart()
			start := w.Now()
			answered := w.pinging(ends[0], ends[1], 3*time.Second)
			if answered[0] != start+2*viaRelay+3*hop {
				t.Errorf("from %v: the first ping after the return was answered after %v", ends[0].Addr(), answered[0]-start)
			}
			for i, at := range answered {
				if at < 0 {
					t.Errorf("from %v: ping %d after the return is lost", ends[0].Addr(), i)
				}
			}
		}
	})
}

// A relay that does not come back, or does not know what to do with a stranger's packets as others' relays, is noticed after half a
// second: then the client tests the host, and its answer tells the way.
func TestRelayGone(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		w.pinging(c.Stack, host.Stack, 2*time.Second)
		other := w.Relay()
		host.Via(other)
		w.relay.Stop()
		start := w.Now()
		answered := w.pinging(c.Stack, host.Stack, 10*time.Second)
		lost := 0
		for _, at := range answered {
			if at < 0 {
				lost++
			}
		}
		// The test leaves beside the ping after 600 ms, and is answered within 7 hops, which is less than a ping later. Then the ping
		// goes again.
		if lost != 3 || answered[3]-start != 600*time.Millisecond+7*hop+2*viaRelay || answered[4]-start != 800*time.Millisecond+2*viaRelay {
			t.Errorf("%d pings are lost, those after 0.6 and 0.8 s are answered after %v and %v", lost, answered[3]-start, answered[4]-start)
		}
	})
}

// Of a flow that the kernel has sent for half a second, and heard nothing of, the workers send the packets again, and the next one has the
// relay tried. The kernel still delivers what comes. The answer opens the path anew, that packet goes again by it, and the flow is handed over again.
func TestSilentFlowGoesBack(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.host.Send(o.client.Addr(), "answer")
		o.expect(o.client.Stack, "answer", o.Now()+viaRelay)
		o.took(at(o.relay))
		start := time.Now()
		var shut []tunnel.KernelCall
		for len(shut) == 0 && time.Since(start) < idle/2 {
			o.kernel.Carry(o.flow, 1, 0)
			time.Sleep(round / 2)
			shut = o.kernel.Calls("shut")
		}
		if len(shut) != 1 || shut[0].Flow != o.flow || o.kernel.Flows() != 1 {
			t.Fatalf("shut: %v, and %d flows are left; want %v", shut, o.kernel.Flows(), o.flow)
		}
		if after := shut[0].At.Sub(start); after < round/2 || after > 2*round {
			t.Errorf("shut after %v", after)
		}
		other := o.Relay()
		o.host.Via(other)
		o.relay.Stop()
		o.client.Send(o.host.Addr(), "by another way")
		o.expect(o.host.Stack, "by another way", o.Now()+clientToNative)
		o.client.Send(o.host.Addr(), "more")
		o.expect(o.host.Stack, "more", o.Now()+viaRelay)
		o.took(at(other))
	})
}

// A relay that asks for a bubble may have restarted, so its flows go back, and those by way of others stay.
func TestFlowOfRestartedRelay(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		o.took(at(o.relay))
		other := o.Native()
		second := o.Relay()
		other.Via(second)
		o.client.Send(other.Addr(), "hello")
		o.expect(other.Stack, "hello", o.Now()+clientToNative)
		o.client.Send(other.Addr(), "more")
		o.expect(other.Stack, "more", o.Now()+viaRelay)
		o.relay.Stop()
		o.relay.Restart()
		asked := time.Now().Add(3 * hop) // the packet goes to the relay, and the bubble through the server to the client
		o.host.Send(o.client.Addr(), "again")
		o.client.Next(time.Second)
		calls := o.kernel.Calls("remove")
		if len(calls) != 1 || calls[0].Flow != o.flow || !calls[0].At.Equal(asked) {
			t.Errorf("removed: %v, want %v at %v", calls, o.flow, asked)
		}
	})
}
