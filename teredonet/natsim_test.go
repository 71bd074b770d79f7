package teredonet_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredonet"
)

// dialer is a Net, or a native host.
type dialer interface {
	Addr() netip.Addr
}

// listen listens at port 80.
func (w *world) listen(at dialer) net.Listener {
	w.t.Helper()
	var l net.Listener
	var err error
	switch at := at.(type) {
	case *teredonet.Net:
		l, err = at.Listen("tcp", ":80")
	case interface {
		ListenTCP(netip.AddrPort) (net.Listener, error)
	}:
		l, err = at.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l
}

// echo serves connections: it sends back what comes, until the end of that.
func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		}()
	}
}

// dial connects to port 80.
func (w *world) dial(from, to dialer) net.Conn {
	w.t.Helper()
	var c net.Conn
	var err error
	remote := netip.AddrPortFrom(to.Addr(), 80)
	switch from := from.(type) {
	case *teredonet.Net:
		c, err = from.DialContext(w.context(), "tcp", remote.String())
	case interface {
		DialTCP(context.Context, netip.AddrPort) (net.Conn, error)
	}:
		c, err = from.DialTCP(w.context(), remote)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// exchange sends data, half closes, and expects the same back.
func exchange(t *testing.T, c net.Conn, size int) {
	t.Helper()
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	sent := make(chan error)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got, data) {
		t.Errorf("%d bytes came back of %d, or others", len(got), len(data))
	}
}

// 10 MB go each way, between clients and between a client and a native host, whoever begins.
func TestTransfers(t *testing.T) {
	for name, pair := range map[string]func(*world) (from, to dialer){
		"client to native": func(w *world) (from, to dialer) { return w.client(), w.native() },
		"native to client": func(w *world) (from, to dialer) { return w.native(), w.client() },
		"client to client": func(w *world) (from, to dialer) { return w.client(), w.client() },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				from, to := pair(w)
				go echo(w.listen(to))
				exchange(t, w.dial(from, to), 10<<20)
			})
		})
	}
}

// TCP gets through a link that loses packets.
func TestLossyLink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		nat := w.NAT(natsim.PortRestricted())
		c, h := w.up(nat.Host()), w.native()
		nat.SetLink(natsim.Link{Delay: 5 * time.Millisecond, Loss: 0.01})
		go echo(w.listen(h))
		exchange(t, w.dial(c, h), 1<<20)
	})
}

// A connection goes on while the server is gone, and new ones to the same peer come about.
func TestServerGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		a, b := w.client(), w.client()
		go echo(w.listen(b))
		old := w.dial(a, b)
		w.server.Stop()
		exchange(t, old, 1<<20)
		exchange(t, w.dial(a, b), 1<<20)
		w.server.Start()
		if !a.Addr().IsValid() {
			t.Error("the client has lost its address")
		}
	})
}

// A peer that vanishes costs the connection: a deadline ends the wait.
func TestPeerVanishes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		host := w.NAT(natsim.PortRestricted()).Host()
		a, b := w.up(host), w.native()
		go echo(w.listen(b))
		c := w.dial(a, b)
		host.Unplug()
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("read: %v", err)
		}
	})
}

// A reader that takes its time holds the sender up, and gets everything.
func TestSlowReader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, h := w.client(), w.native()
		l := w.listen(h)
		const size = 8 << 20 // more than all buffers
		sent := make(chan error)
		go func() {
			s, err := l.Accept()
			if err == nil {
				_, err = s.Write(make([]byte, size))
				err = errors.Join(err, s.Close())
			}
			sent <- err
		}()
		conn := w.dial(c, h)
		select {
		case err := <-sent:
			t.Errorf("the sender did not wait: %v", err)
		case <-time.After(2 * time.Second):
		}
		if n, err := io.Copy(io.Discard, conn); n != size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// 1,000 connections at once.
func TestManyConnections(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		c, h := w.client(), w.native()
		go echo(w.listen(h))
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				conn, err := c.DialContext(w.context(), "tcp", netip.AddrPortFrom(h.Addr(), 80).String())
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				exchange(t, conn, 100)
			})
		}
		all.Wait()
	})
}

// With another mapping the Net has another address: old connections end, and the listener is reached at the new address.
func TestAnotherAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		host := w.NAT(natsim.PortRestricted()).Host()
		a, b := w.up(host), w.native()
		go echo(w.listen(a))
		c := w.dial(b, a)
		was := a.Addr()
		old := w.dialed(a, w.client())
		host.Move(w.NAT(natsim.PortRestricted()).Network)
		if err := a.NetworkChanged(w.context(), host.Network()); err != nil {
			t.Fatal(err)
		}
		for addr := was; addr == was || !addr.IsValid(); {
			var err error
			if addr, err = a.WaitAddr(w.context(), addr); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := old.Read(make([]byte, 1)); !errors.Is(err, teredonet.ErrAddressChanged) {
			t.Errorf("an old connection: %v", err)
		}
		c.Close()
		exchange(t, w.dial(b, a), 1000)
	})
}

// dialed is a connection to a client that only listens.
func (w *world) dialed(from, to *teredonet.Net) net.Conn {
	w.t.Helper()
	w.listen(to)
	return w.dial(from, to)
}

// The error of a Net that does not come up says why.
func TestNoServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.server.Stop()
		n, err := teredonet.Over(w.NAT(natsim.PortRestricted()).Host().ClientConfig(w.server), nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if _, err := n.WaitAddr(ctx, netip.Addr{}); !errors.Is(err, context.DeadlineExceeded) || err.Error() == context.DeadlineExceeded.Error() {
			t.Errorf("error %v", err)
		} else {
			t.Log(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		if _, err := n.WaitAddr(context.Background(), netip.Addr{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		if _, err := n.Listen("tcp", ":80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Listen after Close: %v", err)
		}
		if _, err := n.Dial("tcp", "[2001:db8::1]:80"); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Dial after Close: %v", err)
		}
	})
}
