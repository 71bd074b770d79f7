package netstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// is fails unless an error is a *net.OpError with the cause.
func is(t *testing.T, what string, err, cause error) {
	t.Helper()
	var op *net.OpError
	if !errors.As(err, &op) || !errors.Is(err, cause) {
		t.Errorf("%s: %v, want an OpError with %v", what, err, cause)
	}
}

func TestDialErrors(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	_, err := a.DialTCP(within(t), netip.AddrPortFrom(b.Addr(), 1))
	is(t, "a port where nobody listens", err, syscall.ECONNREFUSED)

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = a.DialTCP(ctx, netip.AddrPortFrom(addrC, 1))
	is(t, "an address where nobody is", err, context.DeadlineExceeded)
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%v is not a timeout", err)
	}

	if err := a.SetAddress(netip.Addr{}); err != nil {
		t.Fatal(err)
	}
	_, err = a.DialTCP(within(t), netip.AddrPortFrom(b.Addr(), 1))
	is(t, "TCP without an address", err, syscall.ENETUNREACH)
	_, err = a.DialUDP(netip.AddrPortFrom(b.Addr(), 1))
	is(t, "UDP without an address", err, syscall.ENETUNREACH)
}

// A router's ICMPv6 error ends an attempt at once (RFC 5461 §4.2).
func TestUnreachable(t *testing.T) {
	for code, want := range map[uint8]error{
		teredo.UnreachableNoRoute: syscall.ENETUNREACH, teredo.UnreachableProhibited: syscall.ENETUNREACH,
		teredo.UnreachableAddress: syscall.ENETUNREACH, teredo.UnreachablePort: syscall.ECONNREFUSED,
	} {
		a, err := New(1280)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.SetAddress(addrA); err != nil {
			t.Fatal(err)
		}
		go func() {
			for packet := range outgoingPackets(a) {
				_, _ = a.WriteBatch([][]byte{teredo.AppendUnreachable(nil, addrC, code, packet)})
			}
		}()
		_, err = a.DialTCP(within(t), netip.AddrPortFrom(addrB, 1))
		is(t, fmt.Sprintf("code %d", code), err, want)
		a.Close()
	}
}

func TestListenErrors(t *testing.T) {
	a, _, stop := pair(t)
	defer stop()
	l, err := a.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	is(t, "a port in use", err, syscall.EADDRINUSE)
	_, err = a.ListenTCP(netip.AddrPortFrom(addrC, 81))
	is(t, "an address of another host", err, ErrAddressChanged)
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	is(t, "Accept of a closed listener", <-accepted, net.ErrClosed)
	is(t, "Close of a closed listener", l.Close(), net.ErrClosed)
}

// Each direction of a connection ends by itself.
func TestHalfClose(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	c1, c2 := connect(t, a, b)
	defer c1.Close()
	defer c2.Close()
	if err := c1.(*TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := c1.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("written after CloseWrite: %v", err)
	}
	if data, err := io.ReadAll(c2); len(data) != 0 || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	go func() {
		_, _ = c2.Write([]byte("still here"))
		_ = c2.Close()
	}()
	if data, err := io.ReadAll(c1); string(data) != "still here" || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
}

// A connection that is reset says so.
func TestReset(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	c1, c2 := connect(t, a, b)
	defer c1.Close()
	if err := c2.(*TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c2.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := c1.Read(make([]byte, 1))
	is(t, "read", err, syscall.ECONNRESET)
}

// Connections that have ended do not keep their ports from new ones, although they stay in TIME-WAIT for a minute.
func TestTimeWait(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	const first, last = 20000, 20007
	if err := a.stack.SetPortRange(first, last); err != nil {
		t.Fatal(err)
	}
	l, err := b.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 7))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	target := netip.AddrPortFrom(b.Addr(), 7)
	limit := time.Now().Add(patience / 2)
	for range 2 * (last - first + 1) {
		c, err := a.DialTCP(within(t), target)
		for err != nil {
			if time.Now().After(limit) {
				t.Fatalf("no port is free: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
			c, err = a.DialTCP(within(t), target)
		}
		other, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close() // the first to close waits
		if _, err := other.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("read: %v", err)
		}
		_ = other.Close()
	}
}

// When the host gets another address, connections of the old one end, and listeners stay.
func TestAddressChange(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	l, err := a.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := a.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c1, c2 := connect(t, a, b)
	defer c2.Close()
	u, err := a.DialUDP(netip.AddrPortFrom(addrB, 9))
	if err != nil {
		t.Fatal(err)
	}
	reading := make(chan error)
	go func() {
		_, err := c1.Read(make([]byte, 1))
		reading <- err
	}()

	if err := a.SetAddress(netip.Addr{}); err != nil { // for a moment
		t.Fatal(err)
	}
	if err := a.SetAddress(addrA); err != nil {
		t.Fatal(err)
	}
	if _, err := c1.Write([]byte("x")); err != nil {
		t.Errorf("the same address again: %v", err)
	}

	if err := a.SetAddress(addrC); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"a read in progress": <-reading, "a write": write(c1), "a write by UDP": write(u)} {
		is(t, what, err, ErrAddressChanged)
		is(t, what, err, syscall.ENETUNREACH)
	}
	for _, c := range []net.Conn{c1, u} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}

	c, err := b.DialTCP(within(t), netip.AddrPortFrom(addrC, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	d, err := b.DialUDP(netip.AddrPortFrom(addrC, 80))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := write(d); err != nil {
		t.Error(err)
	}
	if _, from, err := p.ReadFrom(make([]byte, 1)); err != nil || from.String() != d.LocalAddr().String() {
		t.Errorf("a datagram from %v, %v", from, err)
	}
}

func write(c net.Conn) error {
	_, err := c.Write([]byte("x"))
	return err
}

func TestDatagrams(t *testing.T) {
	a, b, stop := pair(t)
	defer stop()
	s, err := b.ListenUDP(netip.AddrPortFrom(netip.IPv6Unspecified(), 53))
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.DialUDP(netip.AddrPortFrom(addrB, 53))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const size = 4000 // in fragments
	if n, err := c.Write(make([]byte, size)); n != size || err != nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	buffer := make([]byte, 2*size)
	n, from, err := s.ReadFrom(buffer)
	if n != size || err != nil {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	if n, err := s.WriteTo(buffer[:n], from); n != size || err != nil {
		t.Errorf("wrote %d bytes, %v", n, err)
	}
	if n, err := c.Read(buffer); n != size || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	_, err = c.Write(make([]byte, 1<<16))
	is(t, "a datagram that is too long", err, syscall.EMSGSIZE)
	_, err = s.Write([]byte("x"))
	is(t, "a datagram to nobody", err, syscall.EDESTADDRREQ)
	_, err = s.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1})
	is(t, "a datagram to IPv4", err, syscall.EAFNOSUPPORT)
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Error(err)
	}
	_, err = c.Read(buffer)
	is(t, "read after the deadline", err, os.ErrDeadlineExceeded)

	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(c.SetReadDeadline(time.Time{}), write(c)); err != nil {
		t.Error(err)
	}
	_, err = c.Read(buffer)
	is(t, "a port where nobody listens any more", err, syscall.ECONNREFUSED)
}

// The end of the host is the end of all that it has open.
func TestClose(t *testing.T) {
	a, b, stop := pair(t)
	c1, c2 := connect(t, a, b)
	l, err := a.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	if err != nil {
		t.Fatal(err)
	}
	stop()
	_, err = c1.Read(make([]byte, 1))
	is(t, "read", err, net.ErrClosed)
	is(t, "write", write(c2), net.ErrClosed)
	_, err = l.Accept()
	is(t, "accept", err, net.ErrClosed)
	_, err = a.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 81))
	is(t, "listen", err, net.ErrClosed)
	for _, c := range []io.Closer{c1, c2, l} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
