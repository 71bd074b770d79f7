package tunnel

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/metrics"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

type idleConn struct{ Conn }

func (idleConn) LocalAddr() netip.AddrPort { return netip.MustParseAddrPort("8.8.8.8:3545") }
func (idleConn) Offloads() udp.Offloads    { return udp.Offloads{} }

type idleDevice struct{ tun.Device }

func (idleDevice) Offloads() tun.Offloads { return tun.Offloads{} }

// crowded is a relay that exchanges packets with so many clients, and the time then.
func crowded(tb testing.TB, clients int) (*Relay, time.Time) {
	tb.Helper()
	r := NewRelay(RelayConfig{Devices: []Device{idleDevice{}}, Conns: []Conn{idleConn{}}, Capacity: max(2*clients, 16)})
	now := r.started
	host := netip.MustParseAddr("2606:4700::1")
	for i := range clients {
		now = now.Add(10 * time.Millisecond) // within the budgets, as each has a server of its own
		at := func(net byte) netip.Addr { return netip.AddrFrom4([4]byte{net, byte(i >> 16), byte(i >> 8), byte(i)}) }
		a := teredo.Address{Server: at(8), Mapped: netip.AddrPortFrom(at(9), 4096)}
		to, from := teredo.AppendEchoRequest(nil, host, a.Addr(), 1, 1, nil), teredo.AppendEchoRequest(nil, a.Addr(), host, 1, 1, nil)
		r.outbound(now, to)
		for _, packet := range [][]byte{teredo.AppendBubble(nil, a.Addr(), host, 21), from, from} {
			var p teredo.Packet
			if err := p.Parse(packet); err != nil {
				tb.Fatal(err)
			}
			r.inbound(now, a.Mapped, 0, &p)
		}
		r.outbound(now, to)
		r.out.Reset()
	}
	if got := r.peers.Len(); got != clients {
		tb.Fatalf("%d peers, want %d", got, clients)
	}
	return r, now
}

// A scrape costs the control goroutine the same with many peers as with few.
func TestStatusDoesNotGrow(t *testing.T) {
	var allocations [2]float64
	for i, clients := range []int{10, 10_000} {
		r, now := crowded(t, clients)
		allocations[i] = testing.AllocsPerRun(100, func() { r.status(now) })
	}
	if allocations[0] != allocations[1] {
		t.Errorf("%v allocations with few peers, %v with many", allocations[0], allocations[1])
	}
}

// BenchmarkScrape measures what a scrape costs the control goroutine, and what it takes in all.
func BenchmarkScrape(b *testing.B) {
	for _, clients := range []int{10, 1_000_000} {
		r, now := crowded(b, clients)
		b.Run(fmt.Sprintf("control, %d peers", clients), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.status(now)
			}
		})
		registry, err := metrics.NewRegistry("relay", "", func(context.Context) (any, error) { return r.status(now), nil })
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("scrape, %d peers", clients), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := registry.Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("list, %d peers", clients), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.peers.Peers(now, MostPeersShown)
			}
		})
	}
}
