package tun

import "testing"

// What the packets of a full TCP super-packet cost beside the system calls, per packet and per byte.
const segment, segments = 1208, 53

func BenchmarkSplit(b *testing.B) {
	u := unit(newFlow(protocolTCP, 1), flagACK, segment, make([]byte, segment*segments))
	s, ps, heads := new(segmenter), make([]Packet, segments), make([][maxHead]byte, segments)
	b.SetBytes(segment * segments)
	b.ReportAllocs()
	for b.Loop() {
		if s.start(u) != nil || s.next(ps, heads) != segments {
			b.Fatal("not split")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*segments), "ns/packet")
}

func BenchmarkGather(b *testing.B) {
	var packets [][]byte
	f := newFlow(protocolTCP, 1)
	for range segments {
		packets = append(packets, f.packet(flagACK, make([]byte, segment)))
	}
	c := new(coalescer)
	b.SetBytes(segment * segments)
	b.ReportAllocs()
	for b.Loop() {
		if c.coalesce(packets); c.n != 1 {
			b.Fatal("not put together")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*segments), "ns/packet")
}

func BenchmarkSum(b *testing.B) {
	p := make([]byte, segment)
	b.SetBytes(segment)
	for acc := uint64(0); b.Loop(); {
		acc = sum(p, acc)
	}
}
