package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// R-DOS-01: a relay tells how often hosts of all networks together look for more clients than it may send bubbles for. What one network
// asks for too often does not count, because it takes nothing from the others.
func TestRefused(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 1 << 16
	m := peer.NewRelay(r.now, relayAddr, cfg)
	r.m = m
	const clients = 3000
	network := func(n int) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n), 15: 1})
	}
	look := func(from func(n int) netip.Addr, first int) {
		for n := range clients {
			r.outgoing(data(from(n), client(first+n), 1))
			r.out.Reset()
		}
	}
	look(func(int) netip.Addr { return host }, 0)
	if budget, _ := m.Refused(); budget != 0 {
		t.Errorf("%d clients were not looked for because of one network", budget)
	}
	r.wait(time.Minute)
	look(network, clients)
	if budget, displaced := m.Refused(); budget < clients/2 || displaced != 0 {
		t.Errorf("%d clients were not looked for and %d displaced", budget, displaced)
	}
}

// R-DOS-01: clients that are in use and must make room are counted, and those that are not used any more are not.
func TestDisplaced(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 16
	m := peer.NewRelay(r.now, relayAddr, cfg)
	r.m = m
	use := func(first, n int) {
		for c := first; c < first+n; c++ {
			r.outgoing(data(host, client(c), 1))
			for range 2 {
				r.incoming(teredo.Mapped(client(c)), data(client(c), host, 1))
			}
		}
		r.out.Reset()
	}
	use(0, 16)
	r.wait(40 * time.Second)
	use(100, 12)
	if _, displaced := m.Refused(); displaced != 0 {
		t.Errorf("%d clients in use were displaced, though others are not used any more", displaced)
	}
	use(200, 20)
	if _, displaced := m.Refused(); displaced < 16 {
		t.Errorf("%d clients in use were displaced, want 16", displaced)
	}
}
