package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"
)

func forwardTo(port uint16) []ForwardTo {
	return []ForwardTo{{Local: loopback()[0], Target: netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), port)}}
}

// The end of one direction is passed on, and leaves the other one open.
func TestHalfClose(t *testing.T) {
	w := newWorld()
	got := make(chan []byte, 1)
	w.serve(t, 80, func(c *net.TCPConn) { // reads to the end, and then answers
		b, _ := io.ReadAll(c)
		got <- b
		io.WriteString(c, "answer")
	})
	w.serve(t, 81, func(c *net.TCPConn) { // answers and ends, and then reads
		io.WriteString(c, "answer")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		got <- b
	})
	p := start(t, w, Config{Forwards: append(forwardTo(80), forwardTo(81)...)})
	for n := range 2 {
		c := dial(t, p.at(n))
		question := bytes.Repeat([]byte("q"), 1<<20)
		if n == 0 {
			c.Write(question)
			c.CloseWrite()
		}
		if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
			t.Errorf("%d: %q, %v", n, b, err)
		}
		if n == 1 {
			c.Write(question)
			c.CloseWrite()
		}
		if b := <-got; !bytes.Equal(b, question) {
			t.Errorf("%d: the target got %d bytes", n, len(b))
		}
	}
	until(t, "no connection", func() bool { return p.Status().Connections["forward"] == 0 })
}

// A reset is passed on as one, either way.
func TestReset(t *testing.T) {
	w := newWorld()
	result := make(chan bool, 1)
	w.serve(t, 80, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, 1))
		c.SetLinger(0)
	})
	w.serve(t, 81, func(c *net.TCPConn) {
		c.Write([]byte("x"))
		byReset, _ := ended(c)
		result <- byReset
	})
	p := start(t, w, Config{Forwards: append(forwardTo(80), forwardTo(81)...)})
	c := dial(t, p.at(0))
	c.Write([]byte("x"))
	if byReset, err := ended(c); !byReset {
		t.Error("the client sees no reset:", err)
	}
	c = dial(t, p.at(1))
	io.ReadFull(c, make([]byte, 1))
	c.SetLinger(0)
	c.Close()
	if !<-result {
		t.Error("the target sees no reset")
	}
	if !isReset(t, start(t, w, Config{Forwards: forwardTo(99)}).at(0)) {
		t.Error("no reset when the target refuses")
	}
}

// A reader that stops stops the writer; nothing piles up in between, and nothing is lost.
func TestSlowReader(t *testing.T) {
	const size = 64 << 20
	w := newWorld()
	sent := make(chan int64, 1)
	stop := make(chan struct{})
	w.serve(t, 80, func(c *net.TCPConn) {
		go func() { <-stop; c.SetWriteDeadline(time.Now()) }()
		n, _ := io.Copy(c, io.LimitReader(zeros{}, size))
		sent <- n
	})
	p := start(t, w, Config{Forwards: forwardTo(80)})
	dial(t, p.at(0)) // and reads nothing
	var received uint64
	until(t, "the writer to stop", func() bool {
		was := received
		received = p.Status().ReceivedBytes
		time.Sleep(200 * time.Millisecond)
		return received > 0 && received == was
	})
	close(stop)
	if n := <-sent; n >= size || uint64(n) < received {
		t.Errorf("the target has sent %d bytes, of which the proxy took %d", n, received)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// A connection on which nothing moves ends.
func TestIdle(t *testing.T) {
	w := newWorld()
	w.serve(t, 80, echo)
	p := start(t, w, Config{Forwards: forwardTo(80), Idle: 50 * time.Millisecond})
	c := dial(t, p.at(0))
	if byReset, err := ended(c); !byReset {
		t.Error(err)
	}
	p.refusals(t, ReasonIdle, 1)
}

func TestDatagrams(t *testing.T) {
	w := newWorld()
	w.echoDatagrams(t, 53)
	f := forwardTo(53)
	f[0].UDP = true
	p := start(t, w, Config{Forwards: f, Limits: Limits{Connections: 2, PerSource: 1, Handshakes: 1}})
	for n := range 3 {
		c, err := net.Dial("udp", p.at(0))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 2 {
			c.SetDeadline(time.Now().Add(time.Minute))
			if n == 2 {
				c.SetDeadline(time.Now().Add(50 * time.Millisecond))
			}
			if err := exchange(c, "question"); n < 2 && err != nil || n == 2 && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(n, err)
			}
		}
	}
	until(t, "what was refused", func() bool { return p.Status().Refused["connections"] == 2 })
	if s := p.Status(); s.Connections["forward_udp"] != 2 || s.SentBytes != 32 || s.ReceivedBytes != 32 {
		t.Errorf("%+v", s)
	}
}

// Services are for those whom the allow list has, and no source takes all places.
func TestPublish(t *testing.T) {
	w := newWorld()
	w.serve(t, 1080, echo)
	service := w.services[1080]
	datagrams := w.echoDatagrams(t, 0).LocalAddr().String()
	services := []Service{{Port: 80, Host: service}, {UDP: true, Port: 53, Host: datagrams}, {Port: 81, Host: "127.0.0.1:1"}}
	open := start(t, w, Config{Limits: Limits{Connections: 9, PerSource: 2, Handshakes: 1}}, services...)
	first, second := dial(t, open.at(0)), dial(t, open.at(0))
	if err := errors.Join(exchange(first, "hello"), exchange(second, "hello")); err != nil {
		t.Fatal(err)
	}
	if !isReset(t, open.at(0)) {
		t.Error("beyond the limit of one source")
	}
	open.refusals(t, ReasonSourceConnections, 1)
	first.Close()
	until(t, "room", func() bool { return exchange(dial(t, open.at(0)), "hello") == nil })
	second.Close()
	c, err := net.Dial("udp", open.at(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "an answer", func() bool {
		c.SetDeadline(time.Now().Add(time.Second))
		return exchange(c, "question") == nil
	})
	if !isReset(t, open.at(2)) {
		t.Error("a service that refuses")
	}

	closed := startFor(t, w, Config{}, []netip.Prefix{netip.MustParsePrefix("2001:db8::/32")}, services[:2]...)
	if !isReset(t, closed.at(0)) {
		t.Error("a source that is not in the list")
	}
	c2, err := net.Dial("udp", closed.at(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c2.Close()
	c2.Write([]byte("question"))
	closed.refusals(t, ReasonSource, 2)
}

// One host is one source, whatever addresses and ports it takes.
func TestSourceOf(t *testing.T) {
	for _, test := range []struct{ address, source string }{
		{"2001:db8::1", "2001:db8::"}, {"2001:db8::2", "2001:db8::"}, {"2001:db8:0:1::2", "2001:db8:0:1::"},
		{"2001:0:c000:201:0:f227:34ff:8efe", "203.0.113.1"}, {"2001:0:c000:201:8000:1111:34ff:8efe", "203.0.113.1"},
		{"127.0.0.1", "127.0.0.1"},
	} {
		if got := sourceOf(netip.MustParseAddr(test.address)); got.String() != test.source {
			t.Errorf("%s: %v", test.address, got)
		}
	}
}

// The errors of local addresses say what to do.
func TestListenErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, at := range []string{l.Addr().String(), "192.0.2.99:1080"} {
		_, err := New(Config{SOCKS: []netip.AddrPort{netip.MustParseAddrPort(at)}})
		if wrong, ok := errors.AsType[*ListenError](err); !ok || wrong.Addr.String() != at {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// What has flowed through does not stay in memory.
func TestBuffers(t *testing.T) {
	var b buffers
	inside, outside := net.Pipe()
	defer inside.Close()
	var got bytes.Buffer
	done := make(chan error)
	go func() { done <- b.source(outside).pass(func(p []byte) error { got.Write(p); return nil }) }()
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	inside.Write(want)
	inside.Close()
	if err := <-done; err != io.EOF || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

func TestTemporary(t *testing.T) {
	if !isTemporary(&net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}) || isTemporary(net.ErrClosed) {
		t.Error("a process that has no descriptor left would stop")
	}
}
