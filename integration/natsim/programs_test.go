package natsim_test

import (
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

func TestNativeInternet(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		a, b := in.Native(), in.Native()
		a.Send(b.Addr(), "hello")
		if got := b.Next(time.Second); got.Data() != "hello" || got.Source() != a.Addr() || got.At != 20*time.Millisecond {
			t.Errorf("got %q from %v at %v", got.Data(), got.Source(), got.At)
		}
		a.Ping(b.Addr(), "ping")
		if got := a.Next(time.Second); got.Kind() != "echo reply" || got.At != 60*time.Millisecond {
			t.Errorf("got an %s at %v", got.Kind(), got.At)
		}
		b.Mute()
		a.Ping(b.Addr(), "ping")
		time.Sleep(time.Second)
		if got := a.Received(); len(got) != 0 {
			t.Errorf("got %v from a host that does not answer", got)
		}
	})
}

// Packets for 2001::/32 go to the first relay, or to the one that a host's network prefers.
func TestRelayRoutes(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv, near, far := in.Server(), in.Relay(), in.Relay()
		c := in.Client(srv)
		c.AwaitAddr(time.Second)
		host, other := in.Native(), in.Native()
		other.Via(far)
		host.Send(c.Addr(), "near")
		other.Send(c.Addr(), "far")
		if a, b := c.Next(time.Second), c.Next(time.Second); a.Data()+b.Data() != "nearfar" {
			t.Errorf("got %q and %q", a.Data(), b.Data())
		}
		if n, f := near.Status(), far.Status(); n.Peers != 1 || f.Peers != 1 || n.SentPackets == 0 || f.SentPackets == 0 {
			t.Errorf("the relays have %+v and %+v", n, f)
		}
	})
}

func TestStream(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		a, b := in.Native(), in.Native()
		in.Drop(4, natsim.Any)
		f := a.Stream(b.Addr(), 100*time.Millisecond, 10)
		f.Wait(time.Second)
		if in.Now() != 1900*time.Millisecond {
			t.Errorf("the stream has ended at %v", in.Now())
		}
		if lost := f.Lost(); !slices.Equal(lost, []int{3}) || !f.InOrder() {
			t.Errorf("lost %v, in order %v", lost, f.InOrder())
		}
		for number, delay := range f.Delays() {
			if delay != 20*time.Millisecond {
				t.Errorf("packet %d took %v", number, delay)
			}
		}
	})
}

func TestServerStops(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv := in.Server()
		srv.Stop()
		c := in.Client(srv)
		time.Sleep(3 * time.Second)
		srv.Start()
		if c.AwaitAddr(time.Minute); in.Now() != 4*time.Second+80*time.Millisecond {
			t.Errorf("qualified at %v, want with the repetition after 4 s", in.Now())
		}
	})
}

func TestServerOptions(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv := in.Server(natsim.OneAddress, natsim.NoNative)
		c, host := in.Client(srv), in.Native()
		in.Relay()
		if c.AwaitAddr(time.Minute); in.Now() != 12*time.Second+40*time.Millisecond {
			t.Errorf("qualified at %v, want when the guessed address has not answered for 12 s", in.Now())
		}
		c.Send(host.Addr(), "hello")
		time.Sleep(time.Second)
		if drops := srv.Drops(); drops["no-route"] != 1 {
			t.Errorf("the server has dropped %v", drops)
		}
	})
}
