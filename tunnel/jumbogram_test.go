package tunnel_test

import (
	"slices"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
)

// A native host sends packets that claim to be jumbograms (RFC 2675) over a path that is known: a router forwards them with
// what follows. At the client's end that would be trailers of the host's making.
func TestJumbogram(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(harsh()).Network), w.Native()
		host.Send(c.Addr(), "first")
		if got := c.Next(nativeToClient + time.Second).Data(); got != "first" {
			t.Fatalf("received %q", got)
		}
		seen := len(w.Trace())
		jumbogram := teredo.AppendBubble(nil, host.Addr(), c.Addr(), 64)
		jumbogram[6] = 0                                                      // hop-by-hop options:
		jumbogram = append(jumbogram, 59, 0, 1, 4, 0, 0, 0, 0)                // padding, and no next header
		jumbogram = teredo.AppendNonceTrailer(jumbogram, [4]byte{1, 2, 3, 4}) // beyond the packet
		for range 10 {
			host.SendPacket(slices.Clone(jumbogram))
			time.Sleep(pace)
		}
		if got := w.relay.Status().Drops["not-ipv6"]; got != 10 {
			t.Errorf("%d dropped, want 10", got)
		}
		for _, r := range w.Trace()[seen:] {
			if r.Hop == w.relay.Host.Name() && r.Event == natsim.Sent && !r.Packet.Native() {
				t.Errorf("the relay sends %v", r)
			}
		}
		host.Send(c.Addr(), "last")
		if got := c.Next(time.Second).Data(); got != "last" {
			t.Errorf("received %q", got)
		}
	})
}
