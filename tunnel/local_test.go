package tunnel_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/tunnel"
)

// lan is the way between two hosts of a LAN.
const lan = time.Millisecond

// neighbours returns two clients on one LAN behind a NAT without hairpinning, through which they cannot meet.
func neighbours(w *world, options ...func(*tunnel.ClientConfig)) (a, b *natsim.Client) {
	nat := w.NAT(natsim.PortRestricted())
	a = nat.Client(w.server, options...)
	a.AwaitAddr(time.Minute)
	b = nat.Client(w.server, options...)
	b.AwaitAddr(time.Minute)
	time.Sleep(3 * time.Second) // a has greeted b, and must be silent for 2 s
	return a, b
}

// Clients of one LAN find each other by multicast, and talk directly (C-LOC-02, C-LOC-06, C-LOC-07, C-TX-03, C-RX-14). The
// one who was there first has heard the other's discovery bubble: it sends a bubble of its own, is answered, and sends.
func TestNeighbours(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w)
		start := w.Now()
		a.Send(b.Addr(), "hello")
		w.expect(b.Stack, "hello", start+3*lan)
		b.Send(a.Addr(), "answer")
		w.expect(a.Stack, "answer", start+4*lan)
		checkLocal(t, w)
	})
}

// The one who came later has not heard of the other yet. Its bubbles through the server have the other make himself known.
func TestNewNeighbour(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w)
		start := w.Now()
		b.Send(a.Addr(), "hello")
		if got := a.Next(time.Minute); got.Data() != "hello" || got.At > start+2*timeout+clientToClient {
			t.Errorf("received %s %q after %v", got.Kind(), got.Data(), got.At-start)
		}
		a.Send(b.Addr(), "answer")
		w.expect(b.Stack, "answer", w.Now()+lan)
		checkLocal(t, w)
	})
}

// checkLocal checks that no data has left the LAN.
func checkLocal(t *testing.T, w *world) {
	t.Helper()
	for _, r := range w.Sent(natsim.Kind("data")) {
		if !r.Packet.Src.Addr().IsPrivate() || !r.Packet.Dst.Addr().IsPrivate() {
			t.Errorf("not by way of the LAN: %v", r)
		}
	}
}

// Neighbours stay so for longer than a discovery bubble counts.
func TestNeighboursForAnHour(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w)
		for range 60 {
			start := w.Now()
			a.Send(b.Addr(), "hello")
			if got := b.Next(time.Minute); got.Data() != "hello" || got.At > start+3*lan {
				t.Errorf("received %s %q after %v", got.Kind(), got.Data(), got.At-start)
			}
			time.Sleep(time.Minute)
		}
	})
}

// Without local discovery neighbours behind such a NAT cannot meet; the sender is told.
func TestNoDiscovery(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w, func(cfg *tunnel.ClientConfig) { cfg.Discovery = nil })
		a.Send(b.Addr(), "hello")
		if got := a.Next(time.Minute); got.Kind() != "unreachable" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
		for _, r := range w.Sent(natsim.Any) {
			if r.Packet.Dst.Addr().IsMulticast() {
				t.Errorf("multicast: %v", r)
			}
		}
	})
}

// On the public internet nobody looks for neighbours.
func TestNoDiscoveryInPublic(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		w.qualified(w.Network)
		time.Sleep(10 * time.Minute)
		for _, r := range w.Sent(natsim.Any) {
			if r.Packet.Dst.Addr().IsMulticast() {
				t.Errorf("multicast: %v", r)
			}
		}
	})
}

// A neighbour who has left the LAN is found where he is now.
func TestNeighbourLeaves(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := neighbours(w)
		a.Send(b.Addr(), "hello")
		b.Next(time.Second)
		old := b.Addr()
		b.Move(w.NAT(natsim.PortRestricted()).Network)
		b.AwaitOtherAddr(time.Minute, old)
		start := w.Now()
		a.Send(b.Addr(), "hello again")
		w.expect(b.Stack, "hello again", start+clientToClient)
	})
}
