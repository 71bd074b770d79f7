package udp

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkTransfer moves full-size Teredo datagrams over loopback, and tells
// the sender's and the receiver's time for each apart. "burst" goes out with
// UDP_SEGMENT, "single" without; "gro" and "plain" say how it is received.
func BenchmarkTransfer(b *testing.B) {
	for _, segments := range []bool{true, false} {
		for _, gro := range []int{1, 0} {
			for _, size := range []int{1280, 100} {
				name := fmt.Sprintf("%s/%s/%d", pick(segments, "burst", "single"), pick(gro == 1, "gro", "plain"), size)
				b.Run(name, func(b *testing.B) { transfer(b, segments, gro, size) })
			}
		}
	}
}

func pick(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func transfer(b *testing.B, segments bool, gro, size int) {
	const batches = 8
	rx, tx := open(b), open(b)
	tx.gso.Store(segments)
	setOption(b, rx, unix.SOL_UDP, unix.UDP_GRO, gro)
	out, in := messages(rx.LocalAddr(), maxMessages, size), make([]Message, maxMessages)

	var sending, receiving time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for range batches {
			if _, err := tx.WriteBatch(out); err != nil {
				b.Fatal(err)
			}
		}
		sent := time.Now()
		for got := 0; got < batches*maxMessages; {
			n, err := rx.ReadBatch(in)
			if err != nil {
				b.Fatal(err)
			}
			got += n
		}
		sending += sent.Sub(start)
		receiving += time.Since(sent)
	}
	datagrams := float64(b.N * batches * maxMessages)
	b.ReportMetric(float64(sending.Nanoseconds())/datagrams, "tx-ns/datagram")
	b.ReportMetric(float64(receiving.Nanoseconds())/datagrams, "rx-ns/datagram")
}

// BenchmarkPingPong is the round trip of one small datagram: what batching
// and coalescing must not make slower.
func BenchmarkPingPong(b *testing.B) {
	for _, gro := range []int{1, 0} {
		b.Run(pick(gro == 1, "gro", "plain"), func(b *testing.B) {
			near, far := open(b), open(b)
			setOption(b, near, unix.SOL_UDP, unix.UDP_GRO, gro)
			setOption(b, far, unix.SOL_UDP, unix.UDP_GRO, gro)
			out, in := messages(far.LocalAddr(), 1, 100), make([]Message, 1)
			b.ReportAllocs()
			for b.Loop() {
				for _, c := range []*Conn{near, far} {
					if _, err := c.WriteBatch(out); err != nil {
						b.Fatal(err)
					}
					other := far
					if c == far {
						other = near
					}
					if _, err := other.ReadBatch(in); err != nil {
						b.Fatal(err)
					}
					out[0].Remote = in[0].Remote
				}
			}
		})
	}
}
