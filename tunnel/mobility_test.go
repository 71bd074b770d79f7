package tunnel_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// moved checks that a client has one address, that it is a new one, and that it works in both directions.
func moved(t *testing.T, w *world, c *natsim.Client, old string) {
	t.Helper()
	if s := c.Status(); s.State != "qualified" || s.Address != c.Addr() || s.Address.String() == old {
		t.Errorf("status %+v", s)
	}
	host := w.Native()
	host.Send(c.Addr(), "hello")
	if got := c.Next(time.Second); got.Data() != "hello" {
		t.Errorf("received %s %q", got.Kind(), got.Data())
	}
	c.Send(host.Addr(), "answer")
	if got := host.Next(time.Second); got.Data() != "answer" || got.Source() != c.Addr() {
		t.Errorf("received %s %q from %v", got.Kind(), got.Data(), got.Source())
	}
}

// A NAT that forgets its mappings: the client has its new address within the refresh interval and one round trip
// (C-MNT-01, C-MNT-04).
func TestMappingChanges(t *testing.T) {
	for _, change := range []struct {
		name string
		do   func(*natsim.NAT)
	}{
		{"rebinding", (*natsim.NAT).Rebind},
		{"another outside address", (*natsim.NAT).Renumber},
	} {
		t.Run(change.name, func(t *testing.T) {
			natsim.Seeds(t, 10, func(t *testing.T, in *natsim.Internet) {
				w := newWorld(t, in)
				nat := w.NAT(natsim.PortRestricted())
				c := w.qualified(nat.Network)
				old := c.Addr()
				time.Sleep(time.Duration(in.Rand().Int64N(int64(time.Minute))))
				change.do(nat)
				addr := c.AwaitOtherAddr(refreshInterval+2*hop, old)
				if teredo.Mapped(addr).Addr() != nat.Addr() {
					t.Errorf("mapped to %v behind a NAT at %v", teredo.Mapped(addr), nat.Addr())
				}
				moved(t, w, c, old.String())
			})
		})
	}
}

// A laptop goes to another network: it has a new address as soon as two exchanges with the server allow. One is enough where
// it gets the same private address as before and only the mapping is another.
func TestMoves(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, p, q *natsim.Network) {
		c := w.qualified(p)
		old := c.Addr()
		time.Sleep(time.Minute)
		local, want := c.Host.Addr(), qualification
		c.Move(q)
		if c.Host.Addr() == local {
			want = 2 * hop
		}
		start := w.Now()
		c.AwaitOtherAddr(time.Minute, old)
		if took := w.Now() - start; took != want {
			t.Errorf("qualified after %v, want %v", took, want)
		}
		moved(t, w, c, old.String())
	})
}

// Another local address, the same NAT.
func TestLocalAddressChanges(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c := w.qualified(at)
		old := c.Addr()
		c.Renumber()
		c.AwaitOtherAddr(qualification, old)
		moved(t, w, c, old.String())
	})
}

// Off the network and back on: offline with a reason meanwhile, and back at once.
func TestUnplugged(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		nat := w.NAT(natsim.PortRestricted())
		c := w.qualified(nat.Network)
		old := c.Addr()
		c.Unplug()
		c.AwaitNoAddr(time.Second)
		time.Sleep(30 * time.Minute)
		if s := c.Status(); s.State == "qualified" || s.LastError == "" || s.Drops["send-failed"] == 0 {
			t.Errorf("status %+v", s)
		}
		c.Move(nat.Network)
		start := w.Now()
		c.AwaitAddr(time.Minute)
		if took := w.Now() - start; took != qualification {
			t.Errorf("qualified after %v", took)
		}
		moved(t, w, c, old.String())
	})
}

// A change that leaves local address and mapping as they were leaves everything as it was.
func TestChangeOfNothing(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.qualified(w.NAT(natsim.PortRestricted()).Network)
		f := a.Stream(b.Addr(), pace, 900)
		for range 30 {
			time.Sleep(2 * time.Second)
			a.NetworkChanged()
		}
		checkFlowOf(t, f, clientToClient, direct, 30*time.Second)
		if past := a.PastAddrs(); len(past) != 1 {
			t.Errorf("the client had the addresses %v", past)
		}
	})
}

// After a sleep of the host, the NAT's mapping may be another. The client asks at once, and does not wait for its timer.
func TestWakesUp(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		nat := w.NAT(natsim.PortRestricted())
		c := w.qualified(nat.Network)
		old := c.Addr()
		nat.Rebind()
		c.NetworkChanged()
		c.AwaitOtherAddr(2*hop, old)
		moved(t, w, c, old.String())
	})
}

// The client yields while the host has native IPv6, and says so (SUN-01, SUN-04, C-CFG-04).
func TestYieldsToNative(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.qualified(w.NAT(natsim.PortRestricted()).Network)
		change := func(n tunnel.Network) {
			if err := c.Tunnel.NetworkChanged(context.Background(), n); err != nil {
				t.Fatal(err)
			}
		}
		change(tunnel.Network{Native: "eth0"})
		w.Settle()
		if c.Addr().IsValid() {
			t.Errorf("the client keeps %v", c.Addr())
		}
		begun := w.Now()
		time.Sleep(time.Hour)
		if s := c.Status(); s.State != "offline" || s.NativeIPv6 != "eth0" || s.LastError != "" || s.Address.IsValid() {
			t.Errorf("status %+v", s)
		}
		if i := slices.IndexFunc(w.Trace(), func(r natsim.Record) bool { return r.At > begun && r.Hop == c.Host.Name() }); i >= 0 {
			t.Errorf("the client has not been silent: %v", w.Trace()[i])
		}
		change(tunnel.Network{})
		c.AwaitAddr(qualification)
	})
}
