package tunnel

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// freeConn sends at no cost.
type freeConn struct{ *fakePort }

func (freeConn) WriteBatch(ms []Message) (int, error) { return len(ms), nil }

// BenchmarkCount sends a batch of datagrams, which costs nothing but to count them: all of one peer, or each of another one.
func BenchmarkCount(b *testing.B) {
	for _, peers := range []int{1, batch} {
		b.Run(fmt.Sprintf("peers=%d", peers), func(b *testing.B) {
			p := newSocketRig()
			defer p.end()
			var conn Conn = freeConn{p.service}
			p.sockets.conns[0].Store(&[]Conn{conn})
			messages := make([]Message, batch)
			for i := range messages {
				to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(i % peers)}), 4000)
				address := teredo.Address{Server: netip.MustParseAddr("198.19.0.1"), Mapped: to}.Addr()
				packet := teredo.AppendEchoRequest(nil, address, address, 1, 1, make([]byte, 1000))
				messages[i] = Message{Buf: packet, N: len(packet), Remote: to}
			}
			for b.Loop() {
				p.sendFrom(0, messages)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/packet")
		})
	}
}
