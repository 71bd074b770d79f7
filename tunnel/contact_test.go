package tunnel_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// First contact, in either direction: the first packet arrives after no more than the exchange needs, the answer at once.
// The packet that started it waited for the path and is not lost (C-TX-02, C-DCT-02, R-TX-06, C-RX-05).
func TestClientToNative(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		start := w.Now()
		c.Send(host.Addr(), "hello")
		w.expect(host.Stack, "hello", start+clientToNative)
		host.Send(c.Addr(), "answer")
		w.expect(c.Stack, "answer", start+clientToNative+viaRelay)
		c.Send(host.Addr(), "again")
		w.expect(host.Stack, "again", start+clientToNative+2*viaRelay)
	})
}

func TestNativeToClient(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		start := w.Now()
		host.Send(c.Addr(), "hello")
		w.expect(c.Stack, "hello", start+nativeToClient)
		c.Send(host.Addr(), "answer")
		w.expect(host.Stack, "answer", w.Now()+viaRelay)
		host.Send(c.Addr(), "again")
		w.expect(c.Stack, "again", w.Now()+viaRelay)
	})
}

// C-TX-06, C-BUB-02, C-RX-06, C-RX-12.
func TestClientToClient(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, p, q *natsim.Network) {
		a, b := w.qualified(p), w.qualified(q)
		start := w.Now()
		a.Send(b.Addr(), "hello")
		w.expect(b.Stack, "hello", start+clientToClient)
		b.Send(a.Addr(), "answer")
		w.expect(a.Stack, "answer", start+clientToClient+direct)
		a.Send(b.Addr(), "again")
		w.expect(b.Stack, "again", start+clientToClient+2*direct)
	})
}

// Both begin at the same moment.
func TestClientsMeet(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, p, q *natsim.Network) {
		a, b := w.qualified(p), w.qualified(q)
		toA, toB := a.Addr(), b.Addr()
		start := w.Now()
		a.Send(toB, "from a")
		b.Send(toA, "from b")
		for _, s := range []*natsim.Stack{a.Stack, b.Stack} {
			if got := s.Next(time.Second); got.At > start+clientToClient {
				t.Errorf("received %q only at %v, want it by %v", got.Data(), got.At, start+clientToClient)
			}
		}
	})
}

// Each client's server is another one: bubbles go through the server of the client they are for (C-BUB-02).
func TestClientsOfTwoServers(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, p, q *natsim.Network) {
		a := w.qualified(p)
		b := q.Client(w.Server())
		b.AwaitAddr(time.Second)
		start := w.Now()
		a.Send(b.Addr(), "hello")
		w.expect(b.Stack, "hello", start+clientToClient)
		b.Send(a.Addr(), "answer")
		w.expect(a.Stack, "answer", start+clientToClient+direct)
	})
}

// Packets that are sent while the path is sought arrive in the order in which they were sent.
func TestBurstBeforePath(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, d, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		for _, f := range []*natsim.Stream{
			c.Stream(host.Addr(), time.Millisecond, 30), host.Stream(d.Addr(), time.Millisecond, 30), c.Stream(d.Addr(), time.Millisecond, 30),
		} {
			f.Wait(time.Second)
			if lost := f.Lost(); len(lost) > 0 || !f.InOrder() {
				t.Errorf("lost %v, in order %v", lost, f.InOrder())
			}
		}
	})
}

// After 35 s of silence a path is not taken for granted any more (K-07): the exchange is made again, and no packet is lost.
func TestSilence(t *testing.T) {
	eachPair(t, func(t *testing.T, w *world, p, q *natsim.Network) {
		a, b, host := w.qualified(p), w.qualified(q), w.Native()
		a.Send(b.Addr(), "before")
		a.Send(host.Addr(), "before")
		b.Next(time.Second)
		host.Next(time.Second)
		time.Sleep(35 * time.Second)
		start := w.Now()
		a.Send(b.Addr(), "after")
		a.Send(host.Addr(), "after")
		w.expect(b.Stack, "after", start+clientToClient)
		w.expect(host.Stack, "after", start+clientToNative)
		time.Sleep(35 * time.Second)
		start = w.Now()
		b.Send(a.Addr(), "after")
		w.expect(a.Stack, "after", start+clientToClient)
	})
}

// Two clients at one NAT with hairpinning meet at their mapped addresses.
func TestHairpinning(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		cfg := natsim.PortRestricted()
		cfg.Hairpin = true
		// Each behind a NAT of its own behind the one they share, so that they are not on one LAN.
		carrier := w.NAT(cfg)
		a, b := w.qualified(carrier.NAT(natsim.PortRestricted()).Network), w.qualified(carrier.NAT(natsim.PortRestricted()).Network)
		start := w.Now()
		a.Send(b.Addr(), "hello")
		w.expect(b.Stack, "hello", start+2*hop) // through the server; the rest does not leave the carrier's NAT
		b.Send(a.Addr(), "answer")
		w.expect(a.Stack, "answer", start+2*hop)
	})
}
