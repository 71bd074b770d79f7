package tunnel_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

const (
	pace  = 100 * time.Millisecond
	pause = 5 * time.Minute
)

// harsh is a NAT that forgets what it has not seen an outbound packet for in 35 s.
func harsh() natsim.NATConfig {
	cfg := natsim.PortRestricted()
	cfg.Lifetime = 35 * time.Second
	return cfg
}

// checkFlow has a flow go on for five minutes without an answer. Nothing may be lost, and nothing be late that was sent
// after the path was known.
func checkFlow(t *testing.T, f *natsim.Stream, setup, delay time.Duration) {
	t.Helper()
	checkFlowOf(t, f, setup, delay, pause)
}

// checkFlowOf is checkFlow for a flow that goes on for the rest given.
func checkFlowOf(t *testing.T, f *natsim.Stream, setup, delay, rest time.Duration) {
	t.Helper()
	time.Sleep(rest + time.Second)
	if lost := f.Lost(); len(lost) > 0 || !f.InOrder() {
		t.Errorf("lost %v, in order %v", lost, f.InOrder())
	}
	for number, d := range f.Delays() {
		if waiting := setup - time.Duration(number)*pace; d > delay && d > waiting {
			t.Errorf("packet %d took %v", number, d)
		}
	}
}

// A flow in one direction outlives the validity of the path (K-07) and the NAT's permission, because the path is tried anew
// before they end.
func TestOneWayToNative(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(harsh()).Network), w.Native()
		checkFlow(t, c.Stream(host.Addr(), pace, int(pause/pace)), clientToNative, viaRelay)
		checkQuiet(t, w, c, host.Stack)
	})
}

func TestOneWayFromNative(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(harsh()).Network), w.Native()
		checkFlow(t, host.Stream(c.Addr(), pace, int(pause/pace)), nativeToClient, viaRelay)
		checkQuiet(t, w, c, host.Stack)
	})
}

func TestOneWayToClient(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := w.qualified(w.NAT(harsh()).Network), w.qualified(w.NAT(harsh()).Network)
		checkFlow(t, a.Stream(b.Addr(), pace, int(pause/pace)), clientToClient, direct)
		checkQuiet(t, w, a, b.Stack)
		checkQuiet(t, w, b, a.Stack)
	})
}

// checkQuiet checks that a flow has left nothing behind that somebody would have to look into.
func checkQuiet(t *testing.T, w *world, c *natsim.Client, s *natsim.Stack) {
	t.Helper()
	status := c.Status()
	if len(status.Drops) > 0 || status.State != "qualified" || status.Peers != 1 {
		t.Errorf("the client's status is %+v", status)
	}
	if drops := w.relay.Status().Drops; len(drops) > 0 {
		t.Errorf("the relay has dropped %v", drops)
	}
	if drops := w.server.Drops(); len(drops) > 0 {
		t.Errorf("the server has dropped %v", drops)
	}
	if stray := s.Received(); len(stray) > 0 {
		t.Errorf("the other side has received %s", stray[0].Kind())
	}
}

// A flow both ways keeps the path alive by itself: after the first exchange nothing but data and the client's maintenance
// is sent.
func TestTwoWaysNeedNoRefresh(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := w.qualified(w.NAT(harsh()).Network), w.qualified(w.NAT(harsh()).Network)
		forth, back := a.Stream(b.Addr(), pace, int(pause/pace)), b.Stream(a.Addr(), pace, int(pause/pace))
		time.Sleep(time.Second)
		begun := w.Now()
		checkFlow(t, forth, clientToClient, direct)
		checkFlow(t, back, clientToClient, direct)
		for _, r := range w.Sent(natsim.Any) {
			switch kind := r.Packet.Kind(); {
			case r.At < begun, kind == "data", kind == "solicitation", kind == "advertisement":
			case kind == "bubble" && r.Packet.Dst.Addr().IsMulticast():
			default:
				t.Errorf("needless: %v", r)
			}
		}
	})
}
