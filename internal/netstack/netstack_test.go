package netstack

import (
	"context"
	"io"
	"iter"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/teredo-suite/teredo/internal/leak"
	"github.com/teredo-suite/teredo/internal/tun"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

const patience = time.Minute

var (
	addrA = netip.MustParseAddr("2001:db8::a")
	addrB = netip.MustParseAddr("2001:db8::b")
	addrC = netip.MustParseAddr("2001:db8::c")
)

// cable carries packets from one host to another until the first one is closed.
func cable(from, to *Stack) {
	ps := make([]tun.Packet, 128)
	for {
		n, err := from.ReadBatch(ps)
		if err != nil {
			return
		}
		packets := make([][]byte, 0, n)
		for _, p := range ps[:n] {
			packets = append(packets, slices.Concat(p.Head, p.Body))
		}
		_, _ = to.WriteBatch(packets)
	}
}

// pair returns two hosts with a cable between them, and what closes them.
func pair(t testing.TB) (a, b *Stack, stop func()) {
	t.Helper()
	var hosts [2]*Stack
	for i, addr := range []netip.Addr{addrA, addrB} {
		s, err := New(1280)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetAddress(addr); err != nil {
			t.Fatal(err)
		}
		hosts[i] = s
	}
	go cable(hosts[0], hosts[1])
	go cable(hosts[1], hosts[0])
	return hosts[0], hosts[1], func() { hosts[0].Close(); hosts[1].Close() }
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// connect returns both ends of a TCP connection.
func connect(t testing.TB, a, b *Stack) (c1, c2 net.Conn) {
	t.Helper()
	l, err := b.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 0))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).AddrPort().Port()
	if c1, err = a.DialTCP(within(t), netip.AddrPortFrom(b.Addr(), port)); err != nil {
		t.Fatal(err)
	}
	if c2, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return c1, c2
}

// Connections behave as those of package net do.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b, unplug := pair(t)
		c1, c2 = connect(t, a, b)
		return c1, c2, func() { c1.Close(); c2.Close(); unplug() }, nil
	})
}

func TestTransfer(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	c1, c2 := connect(t, a, b)
	start := time.Now()
	const size = 10 << 20
	go func() {
		c1.Write(make([]byte, size))
		c1.Close()
	}()
	n, err := io.Copy(io.Discard, c2)
	if err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	t.Logf("%v", time.Since(start))
	c2.Close()
}

// outgoingPackets are the packets that a host sends, until it is closed.
func outgoingPackets(s *Stack) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		ps := make([]tun.Packet, 1)
		for {
			if n, err := s.ReadBatch(ps); err != nil || n == 1 && !yield(slices.Concat(ps[0].Head, ps[0].Body)) {
				return
			}
		}
	}
}

// One TCP connection, both ends in one process.
func BenchmarkStream(b *testing.B) {
	from, to, stop := pair(b)
	defer stop()
	c1, c2 := connect(b, from, to)
	const size = 1 << 20
	data := make([]byte, 64<<10)
	b.SetBytes(size)
	go func() {
		defer c1.Close()
		for range b.N * (size / len(data)) {
			if _, err := c1.Write(data); err != nil {
				b.Error(err)
			}
		}
	}()
	if n, err := io.Copy(io.Discard, c2); n != int64(b.N)*size || err != nil {
		b.Errorf("%d bytes, %v", n, err)
	}
	c2.Close()
}

// An idle connection costs little at either end, also after much has gone through it.
func TestMemory(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	const connections, most = 200, 32 << 10 // bytes of both ends of one
	before := heap()
	var open []net.Conn
	for range connections {
		c1, c2 := connect(t, a, b)
		copied := make(chan error)
		go func() { _, err := io.Copy(c2, c2); copied <- err }()
		const size = 256 << 10
		go func() { _, _ = c1.Write(make([]byte, size)) }()
		if _, err := io.ReadFull(c1, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		open = append(open, c1, c2)
		t.Cleanup(func() { <-copied })
	}

	if each := (heap() - before) / connections; each > most {
		t.Errorf("%d bytes for each connection, want %d at most", each, most)
	} else {
		t.Logf("%d bytes for each connection", each)
	}
	for _, c := range open {
		c.Close()
	}
}

// heap is what is in use, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC() // twice for what is in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}
