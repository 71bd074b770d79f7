package peer_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

func BenchmarkOutgoing(b *testing.B) {
	benchmarkTable(b, func(t *peer.Table, packet []byte, addr [16]byte, at netip.AddrPort) bool {
		copy(packet[24:], addr[:])
		to, _, action := t.Outgoing(packet, 1, len(packet), 1)
		return action == peer.Carry && to == at
	})
}

func BenchmarkIncoming(b *testing.B) {
	benchmarkTable(b, func(t *peer.Table, packet []byte, addr [16]byte, at netip.AddrPort) bool {
		copy(packet[8:], addr[:])
		return incoming(t, packet, at, 0, 1) == peer.Carry
	})
}

// BenchmarkOutgoingBatch is BenchmarkOutgoing with look-ups that are prepared 64 at a time.
func BenchmarkOutgoingBatch(b *testing.B) {
	packets := make([][]byte, 0, 64)
	addresses, peers := make([][]byte, 0, cap(packets)), make([]netip.AddrPort, 0, cap(packets))
	for range cap(packets) {
		packets = append(packets, sized(own, own, 1, teredo.MTU))
	}
	benchmarkTable(b, func(t *peer.Table, _ []byte, addr [16]byte, at netip.AddrPort) bool {
		packet := packets[len(addresses)]
		copy(packet[24:], addr[:])
		addresses, peers = append(addresses, packet[24:40]), append(peers, at)
		if len(addresses) < cap(addresses) {
			return true
		}
		t.Warm(addresses)
		for i, packet := range packets {
			if to, _, action := t.Outgoing(packet, 1, len(packet), 1); action != peer.Carry || to != peers[i] {
				return false
			}
		}
		addresses, peers = addresses[:0], peers[:0]
		return true
	})
}

// benchmarkTable measures hits with few and with many established peers, one for each in turn, and what one of them costs in memory
// with its share of the table.
func benchmarkTable(b *testing.B, hit func(t *peer.Table, packet []byte, addr [16]byte, at netip.AddrPort) bool) {
	for _, peers := range []int{10, 1_000_000} {
		b.Run(fmt.Sprintf("%d peers", peers), func(b *testing.B) {
			before := heapInUse()
			c := peer.NewClient(epoch, peer.Config{Capacity: peers, Filter: labs, Drops: new(drop.Counters)})
			c.SetAddress(own)
			for n := range peers {
				c.Establish(client(n), teredo.Mapped(client(n)), 0)
			}
			perPeer := float64(heapInUse()-before) / float64(peers)

			addrs, ports := make([][16]byte, peers), make([]netip.AddrPort, peers)
			for i, n := range rand.Perm(peers) {
				a := client(n)
				addrs[i], ports[i] = a.As16(), teredo.Mapped(a)
			}
			packet := sized(own, own, 1, teredo.MTU)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if k := i % peers; !hit(c.Table(), packet, addrs[k], ports[k]) {
					b.Fatalf("%v is missed", netip.AddrFrom16(addrs[k]))
				}
			}
			b.ReportMetric(perPeer, "B/peer")
			runtime.KeepAlive(c)
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
