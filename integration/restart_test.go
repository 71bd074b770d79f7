//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

// A client that was killed or stopped comes back with the same address, and a TCP connection goes on (W-ADDR-07). A configured
// port is kept, too; --new-address draws anew.
func TestClientStartsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	w.startRelay(ours)
	client, addr := w.startClient("client1", ours)
	conn := w.echoConnection("client1", "native", netip.MustParseAddr(lab.NativeAddr))

	w.exchange(conn, "before")
	client.Kill()
	client, again := w.startClient("client1", ours)
	if again != addr {
		t.Fatalf("after kill -9 the address is %v, and it was %v", again, addr)
	}
	w.exchange(conn, "after kill -9")

	w.stop(client)
	client, again = w.startClient("client1", ours)
	if again != addr {
		t.Fatalf("after a stop the address is %v, and it was %v", again, addr)
	}
	w.exchange(conn, "after a stop")

	w.stop(client)
	if client, again = w.startClient("client1", ours, "--new-address"); again == addr {
		t.Errorf("with --new-address the address is %v, as before", again)
	}
	client.Kill()
	client, fixed := w.startClient("client1", ours, "--port", "40404")
	client.Kill()
	if _, again = w.startClient("client1", ours, "--port", "40404"); again != fixed {
		t.Errorf("with --port the address is %v, and it was %v", again, fixed)
	}
}

// echoConnection connects over TCP to a service on another host that sends back what it gets.
func (w *world) echoConnection(from, to string, addr netip.Addr) net.Conn {
	w.t.Helper()
	listener, err := w.Host(to).Listen(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { listener.Close() })
	go func() {
		if c, err := listener.Accept(); err == nil {
			defer c.Close()
			_, _ = io.Copy(c, c) // its error shows at the other end
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := w.Host(from).Dial(ctx, listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

// exchange sends a text over an echoConnection, and wants it back.
func (w *world) exchange(conn net.Conn, text string) {
	w.t.Helper()
	err := conn.SetDeadline(time.Now().Add(time.Minute))
	if err == nil {
		_, err = conn.Write([]byte(text))
	}
	got := make([]byte, len(text))
	if err == nil {
		_, err = io.ReadFull(conn, got)
	}
	if err == nil && string(got) != text {
		err = fmt.Errorf("received %q", got)
	}
	if err != nil {
		w.t.Fatalf("exchange %q: %v", text, err)
	}
}
