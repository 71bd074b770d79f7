package udp

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// open returns a socket on a free loopback port. Reading from it fails after
// a while, so that a lost datagram does not hang the test.
func open(t testing.TB) *Conn {
	t.Helper()
	return openWith(t, Options{})
}

func openWith(t testing.TB, o Options) *Conn {
	t.Helper()
	c, err := Listen(netip.AddrPortFrom(loopback, 0), o)
	if err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { c.Close() })
	t.Cleanup(func() {
		late.Stop()
		c.Close()
	})
	return c
}

// message returns a message whose bytes tell its number and their place.
func message(to netip.AddrPort, number, size int) Message {
	m := Message{Buf: make([]byte, size), N: size, Remote: to}
	for i := range m.Buf {
		m.Buf[i] = byte(number*31 + i + i>>8)
	}
	return m
}

// messages returns n messages of one size to one remote.
func messages(to netip.AddrPort, n, size int) []Message {
	ms := make([]Message, n)
	for i := range ms {
		ms[i] = message(to, i, size)
	}
	return ms
}

func write(t testing.TB, c *Conn, ms []Message) {
	t.Helper()
	if n, err := c.WriteBatch(ms); n != len(ms) || err != nil {
		t.Fatalf("WriteBatch = %d, %v; want %d, nil", n, err, len(ms))
	}
}

// expect reads in batches of the given size and wants exactly the messages
// ms, in order, from the socket from.
func expect(t testing.TB, c *Conn, from netip.AddrPort, batch int, ms []Message) {
	t.Helper()
	in := make([]Message, batch)
	for got := 0; got < len(ms); {
		n, err := c.ReadBatch(in)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", got, len(ms), err)
		}
		for _, m := range in[:n] {
			if got == len(ms) {
				t.Fatalf("%d datagrams wanted, more received", len(ms))
			}
			want := append(ms[got].Buf[:ms[got].N:ms[got].N], ms[got].Tail...)
			if !bytes.Equal(m.Buf[:m.N], want) || m.Remote != from {
				t.Fatalf("datagram %d: %d bytes from %v, want %d bytes from %v with other content",
					got, m.N, m.Remote, len(want), from)
			}
			got++
		}
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{1, 2, 3, 31, 63, 64, 65, 127, 128, 129, 200} {
		for _, batch := range []int{1, 7, 128} {
			t.Run(fmt.Sprintf("%d in batches of %d", n, batch), func(t *testing.T) {
				tx, rx := open(t), open(t)
				ms := messages(rx.LocalAddr(), n, 1280)
				write(t, tx, ms)
				expect(t, rx, tx.LocalAddr(), batch, ms)
			})
		}
	}
}

// Sizes and remotes change from one message to the next; every remote gets
// its own in order.
func TestMixedSizesAndRemotes(t *testing.T) {
	sizes := []int{100, 100, 100, 40, 40, 1280, 1280, 1280, 1279, 1280, 1, 0, 0, 5, 5, 0, 5, 6, 6, 1500, 1500, 2}
	for _, turns := range []int{1, 2, 5} { // messages in a row to one remote
		t.Run(fmt.Sprint(turns), func(t *testing.T) {
			tx := open(t)
			receivers := []*Conn{open(t), open(t), open(t)}
			var all []Message
			each := make([][]Message, len(receivers))
			for i := range 128 {
				r := i / turns % len(receivers)
				m := message(receivers[r].LocalAddr(), i, sizes[i%len(sizes)])
				all, each[r] = append(all, m), append(each[r], m)
			}
			write(t, tx, all)
			for r, rx := range receivers {
				expect(t, rx, tx.LocalAddr(), 16, each[r])
			}
		})
	}
}

// N may be less than the length of Buf, and ReadBatch does not depend on what
// a message held before.
func TestPartOfBuffer(t *testing.T) {
	tx, rx := open(t), open(t)
	ms := messages(rx.LocalAddr(), 3, 1000)
	for i := range ms {
		ms[i].N = 600
	}
	write(t, tx, ms)
	expect(t, rx, tx.LocalAddr(), 3, ms)
}

// A payload in two parts arrives as one, whatever is before and after it.
func TestTail(t *testing.T) {
	tx, rx := open(t), open(t)
	ms := messages(rx.LocalAddr(), 200, 1280)
	for i := range ms {
		m := &ms[i]
		switch cut := i * 6; i % 4 {
		case 0:
			m.N, m.Tail = cut, m.Buf[cut:]
		case 1:
			m.N, m.Tail = 72, m.Buf[72:]
		case 2:
			m.N, m.Tail = 72, m.Buf[72:100]
		}
	}
	write(t, tx, ms)
	expect(t, rx, tx.LocalAddr(), 128, ms)
}

func TestLargest(t *testing.T) {
	tx, rx := open(t), open(t)
	to := rx.LocalAddr()
	ms := []Message{message(to, 0, 2049), message(to, 1, maxPayload), message(to, 2, maxPayload), message(to, 3, 20)}
	write(t, tx, ms)
	expect(t, rx, tx.LocalAddr(), 4, ms)
}

func TestInvalidRemote(t *testing.T) {
	tx, rx := open(t), open(t)
	good := messages(rx.LocalAddr(), 4, 64)
	for name, bad := range map[string]netip.AddrPort{
		"zero":        {},
		"port 0":      netip.AddrPortFrom(loopback, 0),
		"IPv6":        netip.MustParseAddrPort("[2001:db8::1]:3544"),
		"IPv4 mapped": netip.MustParseAddrPort("[::ffff:127.0.0.1]:3544"),
	} {
		t.Run(name, func(t *testing.T) {
			b := message(bad, 9, 64)
			n, err := tx.WriteBatch([]Message{b, good[0], b, b, good[1], good[2], good[3], b})
			if n != len(good) || !errors.Is(err, ErrRemote) {
				t.Errorf("WriteBatch = %d, %v; want %d, ErrRemote", n, err, len(good))
			}
			expect(t, rx, tx.LocalAddr(), 8, good)
		})
	}
}

// A datagram that the system refuses does not hold up the rest.
func TestRefusedDatagram(t *testing.T) {
	tx, rx := open(t), open(t)
	tooLong := message(rx.LocalAddr(), 0, maxPayload+1)
	good := messages(rx.LocalAddr(), 2, 64)
	n, err := tx.WriteBatch([]Message{tooLong, good[0], tooLong, good[1], tooLong, tooLong})
	if n != len(good) || err == nil {
		t.Errorf("WriteBatch = %d, %v; want %d and an error", n, err, len(good))
	}
	expect(t, rx, tx.LocalAddr(), 8, good)
}

func TestEmptyBatch(t *testing.T) {
	c := open(t)
	if n, err := c.WriteBatch(nil); n != 0 || err != nil {
		t.Errorf("WriteBatch(nil) = %d, %v", n, err)
	}
	if n, err := c.ReadBatch(nil); n != 0 || err != nil {
		t.Errorf("ReadBatch(nil) = %d, %v", n, err)
	}
}

func TestClose(t *testing.T) {
	c := open(t)
	done := make(chan error)
	go func() {
		_, err := c.ReadBatch(make([]Message, 1))
		done <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch during Close: %v, want net.ErrClosed", err)
	}
	if _, err := c.ReadBatch(make([]Message, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("ReadBatch after Close: %v, want net.ErrClosed", err)
	}
	if n, err := c.WriteBatch(messages(c.LocalAddr(), 3, 100)); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch after Close = %d, %v; want 0, net.ErrClosed", n, err)
	}
}

func TestConcurrentWriters(t *testing.T) {
	tx := open(t)
	var wg sync.WaitGroup
	for range 4 {
		rx := open(t)
		var all []Message
		for i := range 200 {
			all = append(all, message(rx.LocalAddr(), i, 100+i/32))
		}
		wg.Go(func() {
			for start := 0; start < len(all); start += 8 {
				if n, err := tx.WriteBatch(all[start : start+8]); n != 8 || err != nil {
					t.Errorf("WriteBatch = %d, %v", n, err)
				}
			}
		})
		defer expect(t, rx, tx.LocalAddr(), 32, all)
	}
	wg.Wait()
}

func TestNoAllocations(t *testing.T) {
	tx, rx := open(t), open(t)
	in := make([]Message, 64)
	out := messages(rx.LocalAddr(), 20, 1280)
	out = append(out, messages(rx.LocalAddr(), 20, 100)...)
	for i := range 10 {
		out = append(out, message(rx.LocalAddr(), i, i*10))
	}
	refused := message(netip.AddrPort{}, 0, 10)
	out = append(out, refused)
	allocs := testing.AllocsPerRun(100, func() {
		if n, err := tx.WriteBatch(out); n != len(out)-1 || err != ErrRemote {
			t.Fatal(n, err)
		}
		if n, err := tx.WriteBatch(out[:1]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		for got := 0; got < len(out); {
			n, err := rx.ReadBatch(in)
			if err != nil {
				t.Fatal(err)
			}
			got += n
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for a batch sent and received, want 0", allocs)
	}
}

// C-CFG-01: who asks for no port gets one that the kernel picks.
func TestLocalAddr(t *testing.T) {
	c, err := Listen(netip.MustParseAddrPort("0.0.0.0:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	local := c.LocalAddr()
	if local.Addr() != netip.IPv4Unspecified() || local.Port() == 0 {
		t.Errorf("LocalAddr = %v, want 0.0.0.0 and the port that was chosen", local)
	}
	tx := open(t)
	ms := messages(netip.AddrPortFrom(loopback, local.Port()), 1, 10)
	write(t, tx, ms)
	expect(t, c, tx.LocalAddr(), 1, ms)
}

func TestListenErrors(t *testing.T) {
	taken := open(t).LocalAddr()
	for _, test := range []struct {
		local netip.AddrPort
		is    error // nil: not the system's
		says  string
	}{
		{taken, syscall.EADDRINUSE, fmt.Sprintf("UDP port %d of 127.0.0.1 is in use by another program", taken.Port())},
		{netip.MustParseAddrPort("192.0.2.1:0"), syscall.EADDRNOTAVAIL, "no interface of this host has address 192.0.2.1"},
		{netip.AddrPort{}, nil, "no local address to listen on"},
		{netip.MustParseAddrPort("[::1]:0"), nil, "local address ::1 is not an IPv4 address"},
		{netip.MustParseAddrPort("224.0.0.253:3544"), nil, "local address 224.0.0.253 is a multicast address"},
	} {
		t.Run(test.local.String(), func(t *testing.T) {
			c, err := Listen(test.local, Options{})
			if err == nil {
				c.Close()
				t.Fatal("no error")
			}
			if err.Error() != test.says {
				t.Errorf("error is %q, want %q", err, test.says)
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v does not wrap %v", err, test.is)
			}
		})
	}
}

// What cannot be provoked everywhere: no free port, and missing privileges.
func TestListenErrorText(t *testing.T) {
	local := netip.MustParseAddrPort("192.0.2.1:3544")
	for _, test := range []struct {
		local netip.AddrPort
		cause error
		says  string
	}{
		{netip.AddrPortFrom(local.Addr(), 0), syscall.EADDRINUSE, "no UDP port of 192.0.2.1 is free"},
		{local, syscall.EACCES, "not permitted to open UDP port 3544 of 192.0.2.1; run with more privileges"},
		{local, syscall.EPERM, "not permitted to open UDP port 3544 of 192.0.2.1; run with more privileges"},
		{local, syscall.EMFILE, "open a UDP socket at 192.0.2.1:3544: "},
	} {
		err := error(&ListenError{test.local, &net.OpError{Op: "listen", Err: test.cause}})
		if !strings.HasPrefix(err.Error(), test.says) || !errors.Is(err, test.cause) {
			t.Errorf("ListenError of %v is %q, want %q and the cause wrapped", test.cause, err, test.says)
		}
	}
}
