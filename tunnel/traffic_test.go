package tunnel_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/tunnel"
)

// The status tells traffic with other clients from that with native hosts, and both from what is for the server; and of both what the
// kernel has carried.
func TestPaths(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		before := o.client.Status()
		o.send()
		s := o.client.Status()
		sent := s.Paths.Relay.SentPackets - before.Paths.Relay.SentPackets
		if size := s.SentBytes - before.SentBytes; sent != 1 || s.Paths.Relay.SentBytes-before.Paths.Relay.SentBytes != size {
			t.Errorf("a packet of %d bytes to a native host: %+v, and %+v before", size, s.Paths, before.Paths)
		}
		if s.Paths.Direct != (tunnel.Traffic{}) || s.Paths.Kernel != (tunnel.Traffic{}) {
			t.Errorf("no client, and not the kernel: %+v", s.Paths)
		}
		o.kernel.Carry(o.flow, 1000, 3000)
		time.Sleep(round)
		after := o.client.Status()
		want := tunnel.Traffic{SentPackets: 1000, SentBytes: 100_000, ReceivedPackets: 3000, ReceivedBytes: 300_000}
		if after.Paths.Kernel != want || after.Paths.Relay.SentPackets-s.Paths.Relay.SentPackets != 1000 || after.Paths.Relay.ReceivedBytes-s.Paths.Relay.ReceivedBytes != 300_000 {
			t.Errorf("carried by the kernel: %+v, and %+v before", after.Paths, s.Paths)
		}
	})
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		server := in.Server()
		a, b := in.Client(server), in.Client(server)
		a.AwaitAddr(time.Minute)
		b.AwaitAddr(time.Minute)
		before := b.Status().Paths
		if before != (tunnel.Paths{}) {
			t.Errorf("what is for the server: %+v", before)
		}
		a.Send(b.Addr(), "hello")
		time.Sleep(time.Second)
		if s := b.Status(); s.Paths.Direct.ReceivedPackets != 1 || s.Paths.Direct.ReceivedBytes != s.ReceivedBytes || s.Paths.Relay != (tunnel.Traffic{}) || s.Sought+s.Established+s.Strangers != s.Peers {
			t.Errorf("a packet of another client: %+v", s)
		}
		if s := a.Status(); s.Paths.Direct.SentPackets == 0 || s.Paths.Relay != (tunnel.Traffic{}) || s.Sought != 1 {
			t.Errorf("a packet to another client: %+v", s)
		}
	})
}

// All peers of a relay are clients, also where it translates their addresses and turns packets back from one to another.
func TestPathsTranslated(t *testing.T) {
	nativeScenario(t, func(t *testing.T, w *nativeWorld) {
		a, b, host := w.any(w.Network), w.any(w.Network), w.Native()
		a.Send(host.Addr(), "out")
		w.receives(host.Stack, "out", w.native(a))
		a.Send(w.native(b), "back")
		w.receives(b.Stack, "back", w.native(a))
		s := w.relay.Status()
		if s.Paths.Relay != (tunnel.Traffic{}) || s.Paths.Direct.ReceivedPackets != s.ReceivedPackets || s.Paths.Direct.ReceivedBytes != s.ReceivedBytes || s.ReceivedPackets < 2 {
			t.Errorf("%+v of %d packets and %d bytes", s.Paths, s.ReceivedPackets, s.ReceivedBytes)
		}
	})
}

// What goes to and from a client on the same subnet counts as local. Other clients
// are direct.
func TestPathsLocal(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w)
		far := w.Client(w.server)
		far.AwaitAddr(time.Minute)
		for range 3 {
			a.Send(b.Addr(), "hello")
			time.Sleep(time.Second)
			b.Send(a.Addr(), "answer")
			time.Sleep(time.Second)
		}
		before := a.Status().Paths
		if before.Local.SentPackets < 3 || before.Local.ReceivedPackets != 3 || before.Local.SentBytes <= before.Local.SentPackets*40 {
			t.Errorf("a has exchanged packets with a neighbour: %+v", before)
		}
		if got := b.Status().Paths; got.Local.ReceivedPackets != 3 || got.Local.SentPackets < 3 || got.Relay != (tunnel.Traffic{}) {
			t.Errorf("b has exchanged packets with a neighbour: %+v", got)
		}
		a.Send(far.Addr(), "hello")
		time.Sleep(10 * time.Second)
		after := a.Status().Paths
		if after.Local != before.Local || after.Direct.SentPackets == before.Direct.SentPackets {
			t.Errorf("a has sent to a client elsewhere: %+v, and %+v before", after, before)
		}
		peers, err := a.Tunnel.Peers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range peers {
			if want := map[netip.Addr]string{b.Addr(): "local", far.Addr(): "direct"}[p.Address]; p.Path != want {
				t.Errorf("the path of %+v is not %s", p, want)
			}
		}
	})
}
