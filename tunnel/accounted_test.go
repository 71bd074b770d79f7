package tunnel_test

import (
	"context"
	"testing"
	"time"
)

// Accounted does not ask the kernel: it tells of what the kernel has carried when the round has asked it.
func TestAccounted(t *testing.T) {
	offloaded(t, func(t *testing.T, o *offload) {
		o.send()
		time.Sleep(round / 2)
		sent := func() uint64 {
			t.Helper()
			s, err := o.client.Tunnel.Accounted(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return s.SentPackets
		}
		before := sent()
		o.kernel.Carry(o.flow, 1000, 0)
		if got := sent() - before; got != 0 {
			t.Errorf("%d packets at once", got)
		}
		time.Sleep(round)
		if got := sent() - before; got != 1000 {
			t.Errorf("%d packets a round later, want 1000", got)
		}
	})
}
