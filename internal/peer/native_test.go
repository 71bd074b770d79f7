package peer_test

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// In an on-link prefix the relay's host and its neighbours have addresses beside those of clients. Only a client's cannot be the source
// of a packet from the native side.
func TestAddressesInNativePrefix(t *testing.T) {
	target := client(1)
	prefix, err := teredo.NewNativePrefix(teredo.ServerOf(target), netip.MustParsePrefix("2001:db8:c::/64"))
	if err != nil {
		t.Fatal(err)
	}
	natives := teredo.NativePrefixes{prefix}
	nativeOf := func(port uint16) netip.Addr {
		a, _ := natives.Native(teredo.Address{Server: prefix.Server(), Mapped: netip.AddrPortFrom(teredo.Mapped(target).Addr(), port)}.Addr())
		return a
	}
	native, _ := natives.Native(target)
	own, made := nativeOf(2), nativeOf(3)
	gateway, host := netip.MustParseAddr("2001:db8:c::1"), netip.MustParseAddr("2001:db8:1::80")
	for _, tt := range []struct {
		name     string
		from, to netip.Addr
		bubbles  int
		drops    map[string]uint64
	}{
		{"a native host", host, native, 1, nil},
		{"the relay's host", own, native, 1, nil},
		{"a neighbour", gateway, native, 1, nil},
		{"a made-up client", made, native, 0, map[string]uint64{"source": 1}},
		{"a made-up client, to a Teredo address", made, target, 0, map[string]uint64{"source": 1}},
		{"to an address that no client has", host, netip.MustParseAddr("2001:db8:c::2"), 0, map[string]uint64{"not-global": 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var drops drop.Counters
			r := peer.NewRelay(epoch, host, peer.Config{Capacity: 16, Filter: labs, Drops: &drops, Natives: natives})
			r.Serve(nil, []netip.Addr{own})
			packet := sized(tt.from, tt.to, 17, 100)
			r.Table().Inward(packet)
			if to, _, verdict := r.Table().Outgoing(packet, 1, len(packet), r.Table().Stamp(epoch)); verdict != peer.Ask {
				t.Errorf("the worker sends the packet to %v", to)
			}
			var out peer.Output
			r.Outbound(epoch, packet, &out)
			if n := len(out.UDP.Datagrams()); n != tt.bubbles {
				t.Errorf("%d datagrams are sent, want %d; drops %v", n, tt.bubbles, drops.Snapshot())
			}
			got := drops.Snapshot()
			for reason, n := range tt.drops {
				if got[reason] != n {
					t.Errorf("drops %v, want %v", got, tt.drops)
				}
			}
		})
	}

	r := peer.NewRelay(epoch, host, peer.Config{Capacity: 16, Filter: labs, Drops: new(drop.Counters), Natives: natives})
	r.Serve(nil, []netip.Addr{own})
	for to, turns := range map[netip.Addr]bool{made: true, own: false, host: false} {
		packet := sized(target, to, 17, 100)
		if turned := r.Table().Outward(packet); turned != turns || teredo.Source(packet) != native || teredo.IsTeredo(teredo.Destination(packet)) != turns {
			t.Errorf("to %v: turned back is %v, from %v to %v", to, turned, teredo.Source(packet), teredo.Destination(packet))
		}
	}
}
