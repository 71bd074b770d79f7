package tunnel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// exchange is a first contact that needs several packets.
type exchange struct {
	name string
	// begin makes what is needed, and returns both ends.
	begin func(w *world) (from, to *natsim.Stack)
}

func exchanges() []exchange {
	return []exchange{
		{"client to native", func(w *world) (from, to *natsim.Stack) {
			return w.qualified(w.NAT(natsim.PortRestricted()).Network).Stack, w.Native().Stack
		}},
		{"native to client", func(w *world) (from, to *natsim.Stack) {
			return w.Native().Stack, w.qualified(w.NAT(natsim.PortRestricted()).Network).Stack
		}},
		{"client to client", func(w *world) (from, to *natsim.Stack) {
			return w.qualified(w.NAT(natsim.PortRestricted()).Network).Stack, w.qualified(w.NAT(natsim.PortRestricted()).Network).Stack
		}},
		{"client to client behind cone", func(w *world) (from, to *natsim.Stack) {
			return w.qualified(w.NAT(natsim.PortRestricted()).Network).Stack, w.qualified(w.NAT(natsim.Cone()).Network).Stack
		}},
		{"after silence", func(w *world) (from, to *natsim.Stack) {
			a, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
			a.Send(host.Addr(), "before")
			host.Next(time.Second)
			time.Sleep(40 * time.Second)
			return a.Stack, host.Stack
		}},
	}
}

// Whichever packet of an exchange is lost, the path comes about all the same, within the time that its repetition takes.
// Only if that packet is the one with the data, the data is lost, as anywhere on the internet.
func TestLossOfEachPacket(t *testing.T) {
	for _, e := range exchanges() {
		t.Run(e.name, func(t *testing.T) {
			n := 1
			for ; tryWithout(t, e, n); n++ {
			}
			if n < 5 {
				t.Errorf("the exchange has only %d packets", n)
			}
		})
	}
}

// tryWithout runs an exchange without its n-th packet. It reports false when it has fewer.
func tryWithout(t *testing.T, e exchange, n int) (lost bool) {
	t.Run(fmt.Sprintf("packet %d", n), func(t *testing.T) {
		scenario(t, func(t *testing.T, w *world) {
			from, to := e.begin(w)
			dst := to.Addr()
			rule := w.Drop(n, natsim.Any)
			start := w.Now()
			from.Send(dst, "first")
			time.Sleep(tries * timeout)
			rule.Cancel()
			lost = rule.Dropped() && dropped(t, w).At < start+time.Second
			arrived := false
			for _, r := range to.Received() {
				arrived = arrived || r.Data() == "first"
				if at := r.At - start; at > timeout+clientToNative {
					t.Errorf("%q arrives after %v", r.Data(), at)
				}
			}
			if !arrived && !(lost && dropped(t, w).Packet.Kind() == "data") {
				t.Error("the data has not arrived")
			}
			from.Send(dst, "second")
			if got := to.Next(time.Second); got.Data() != "second" {
				t.Errorf("received %s %q, want the second packet", got.Kind(), got.Data())
			}
		})
	})
	return lost && !t.Failed()
}

// dropped is the record of the packet that a rule has dropped.
func dropped(t *testing.T, w *world) natsim.Record {
	t.Helper()
	for _, r := range w.Trace() {
		if r.Why == "by rule" {
			return r
		}
	}
	t.Fatal("no rule has dropped a packet")
	return natsim.Record{}
}

// The loss of any packet of the qualification costs one time-out of 4 s (K-04), and no more.
func TestLossInQualification(t *testing.T) {
	for n := 1; n <= 4; n++ {
		t.Run(fmt.Sprintf("packet %d", n), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				nat := w.NAT(natsim.PortRestricted())
				rule := w.Drop(n, natsim.Any)
				c := nat.Client(w.server)
				c.AwaitAddr(time.Minute)
				if want := 4*time.Second + qualification; w.Now() != want || !rule.Dropped() {
					t.Errorf("qualified at %v, want %v", w.Now(), want)
				}
				if s := c.Status(); s.NAT != "restricted" {
					t.Errorf("NAT %s", s.NAT)
				}
			})
		})
	}
}

// On links that lose, duplicate and reorder, everybody finds everybody.
func TestBadLinks(t *testing.T) {
	natsim.Seeds(t, 20, func(t *testing.T, in *natsim.Internet) {
		w := newWorld(t, in)
		bad := natsim.Link{Delay: 30 * time.Millisecond, Jitter: 100 * time.Millisecond, Loss: 0.1, Duplicate: 0.1}
		p, q := w.NAT(natsim.PortRestricted()), w.NAT(natsim.Restricted())
		p.SetLink(bad)
		q.SetLink(bad)
		a, b, host := w.qualified(p.Network), w.qualified(q.Network), w.Native()
		flows := []*natsim.Stream{
			a.Stream(b.Addr(), pace, 600), b.Stream(a.Addr(), pace, 600), a.Stream(host.Addr(), pace, 600), host.Stream(b.Addr(), pace, 600),
		}
		flows[0].Wait(10 * time.Second)
		for i, f := range flows {
			if lost := f.Lost(); len(lost) > 180 { // a tenth on either of two links, and 60 of 600 for bad luck in the beginning
				t.Errorf("flow %d has lost %d packets of 600", i, len(lost))
			}
		}
	})
}
