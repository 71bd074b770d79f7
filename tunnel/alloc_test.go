package tunnel_test

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// burst is how many packets a worker gets at once.
const burst = 64

// loadConn is a socket from which bursts of one datagram come.
type loadConn struct {
	datagram udp.Message
	feed     chan int         // how many of it to receive
	sent     chan udp.Message // the first of each batch, N being the size of the batch
	closed   chan struct{}
	buffers  buffers
}

// buffers are those that a worker gets its packets in, which it may change.
type buffers [burst][2048]byte

func (b *buffers) fill(i int, packet []byte) []byte { return b[i][:copy(b[i][:], packet)] }

func (c *loadConn) ReadBatch(ms []udp.Message) (int, error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case n := <-c.feed:
		for i := range n {
			ms[i] = udp.Message{Buf: c.buffers.fill(i, c.datagram.Buf), N: len(c.datagram.Buf), Remote: c.datagram.Remote}
		}
		return n, nil
	}
}

func (c *loadConn) WriteBatch(ms []udp.Message) (int, error) {
	c.sent <- udp.Message{Buf: ms[0].Buf, N: len(ms), Remote: ms[0].Remote}
	return len(ms), nil
}

func (c *loadConn) LocalAddr() netip.AddrPort { return netip.AddrPort{} }
func (c *loadConn) Offloads() udp.Offloads    { return udp.Offloads{} }
func (c *loadConn) Close() error              { close(c.closed); return nil }

// loadDevice is a TUN device from which bursts of one packet come.
type loadDevice struct {
	packet    []byte
	feed      chan int
	delivered chan int
	closed    chan struct{}
	buffers   buffers
}

func (d *loadDevice) ReadBatch(ps []tun.Packet) (int, error) {
	select {
	case <-d.closed:
		return 0, os.ErrClosed
	case n := <-d.feed:
		for i := range n {
			ps[i] = tun.Packet{Head: d.buffers.fill(i, d.packet)}
		}
		return n, nil
	}
}

func (d *loadDevice) WriteBatch(packets [][]byte) (int, error) {
	d.delivered <- len(packets)
	return len(packets), nil
}

func (d *loadDevice) Offloads() tun.Offloads { return tun.Offloads{} }
func (d *loadDevice) Close() error           { close(d.closed); return nil }

// The workers carry packets whose path is known without allocating, in both directions, translated or not.
func TestWorkersAllocateNothing(t *testing.T) {
	t.Run("untranslated", func(t *testing.T) { testWorkersAllocateNothing(t, nil) })
	t.Run("translated", func(t *testing.T) {
		prefix, err := teredo.NewNativePrefix(netip.MustParseAddr("198.18.0.1"), netip.MustParsePrefix("3fff:1:2:3::/64"))
		if err != nil {
			t.Fatal(err)
		}
		testWorkersAllocateNothing(t, teredo.NativePrefixes{prefix})
	})
}

func testWorkersAllocateNothing(t *testing.T, natives teredo.NativePrefixes) {
	native, mapped := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddrPort("198.18.0.7:4000")
	client := teredo.Address{Server: netip.MustParseAddr("198.18.0.1"), Mapped: mapped}.Addr()
	source := netip.MustParseAddr("fe80::1")
	outside, translated := natives.Native(client)
	if !translated {
		outside = client
	}
	dev := &loadDevice{
		packet: teredo.AppendEchoRequest(nil, native, outside, 1, 1, make([]byte, 1000)),
		feed:   make(chan int), delivered: make(chan int), closed: make(chan struct{}),
	}
	conn := &loadConn{
		datagram: udp.Message{Buf: teredo.AppendBubble(nil, client, source, 255), Remote: mapped},
		feed:     make(chan int), sent: make(chan udp.Message), closed: make(chan struct{}),
	}
	relay := tunnel.NewRelay(tunnel.RelayConfig{Devices: []tunnel.Device{dev}, Conns: []tunnel.Conn{conn}, Capacity: 16, Natives: natives, PermitIPv4: natsim.Filter().Permit})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- relay.Run(ctx) }()

	dev.feed <- 1 // its bubble is answered directly, and the packet sent
	if m := <-conn.sent; m.Remote != netip.MustParseAddrPort("198.18.0.1:3544") {
		t.Errorf("the first datagram goes to %v", m.Remote)
	}
	conn.feed <- 1
	if m := <-conn.sent; m.Remote != mapped {
		t.Errorf("the second datagram goes to %v", m.Remote)
	}
	conn.datagram.Buf = teredo.AppendEchoRequest(nil, client, native, 1, 1, make([]byte, 1000))
	if n := testing.AllocsPerRun(100, func() {
		dev.feed <- burst
		if m := <-conn.sent; m.N != burst || m.Remote != mapped {
			t.Errorf("%d datagrams to %v", m.N, m.Remote)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d packets to UDP", n, burst)
	}
	if n := testing.AllocsPerRun(100, func() {
		conn.feed <- burst
		if n := <-dev.delivered; n != burst {
			t.Errorf("%d packets", n)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d packets from UDP", n, burst)
	}
	conn.datagram.Buf = teredo.AppendEchoRequest(nil, client, outside, 1, 1, make([]byte, 1000)) // turns back
	if n := testing.AllocsPerRun(100, func() {
		if !translated {
			return
		}
		conn.feed <- burst
		if m := <-conn.sent; m.N != burst || m.Remote != mapped {
			t.Errorf("%d datagrams to %v", m.N, m.Remote)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d packets that turn back", n, burst)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
