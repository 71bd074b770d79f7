package tunnel_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// W-RA-03, C-RX-06: clients qualify with a server whose advertisements have bits after the prefix, and find each other by the
// bubbles that it passes on without an origin indication.
func TestWildServer(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv := in.Server(natsim.Wild)
		extended := func(cfg *tunnel.ClientConfig) { cfg.Extensions = allExtensions() }
		a, b := in.NAT(natsim.Restricted()).Client(srv, extended), in.NAT(natsim.Symmetric()).Client(srv, extended)
		a.AwaitAddr(time.Minute)
		b.AwaitAddr(time.Minute)
		time.Sleep(3 * hop) // the secondary address is asked behind that
		if s := b.Status(); s.NAT != "symmetric" {
			t.Errorf("the NAT is %v", s.NAT)
		}
		a.Send(b.Addr(), "hello")
		if got := b.Next(10 * time.Second); got.Data() != "hello" {
			t.Errorf("got %q", got.Data())
		}
		b.Send(a.Addr(), "answer")
		if got := a.Next(10 * time.Second); got.Data() != "answer" {
			t.Errorf("got %q", got.Data())
		}
	})
}

// wildRelay has a client qualify with a server that is a relay, too, on port 3544.
func wildRelay(t *testing.T, in *natsim.Internet, at *natsim.Network) (srv *natsim.Server, c *natsim.Client, host netip.Addr) {
	srv = in.Server(natsim.WildRelay)
	c = at.Client(srv)
	c.AwaitAddr(time.Minute)
	return srv, c, netip.MustParseAddr("2001:db8:77::1")
}

// packets to and from native hosts go through server:3544.
func TestWildRelay(t *testing.T) {
	for _, p := range places() {
		t.Run(p.name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				_, c, host := wildRelay(t, in, p.make(in))
				// The test goes to the server (1), whose bubble (2) is answered (3), so that the reply comes (4). The packet goes
				// to the host behind the server (5), which sends it back (6).
				at := in.Now() + 6*hop
				for range 20 {
					c.Send(host, "hello")
					if got := c.Next(10 * time.Second); got.Data() != "hello" || got.Source() != host || got.At != at {
						t.Errorf("got %q from %v at %v, want it at %v", got.Data(), got.Source(), got.At, at)
					}
					time.Sleep(10 * time.Second)
					at = in.Now() + 2*hop
				}
				time.Sleep(time.Minute)
				c.Send(host, "again") // after a new test, which is answered at once
				if at, got := in.Now()+4*hop, c.Next(10*time.Second); got.Data() != "again" || got.At != at {
					t.Errorf("got %q at %v, want it at %v", got.Data(), got.At, at)
				}
			})
		})
	}
}

// a native host that begins loses its first packet, as that proves nothing. What comes in the server's name from other
// hosts does not get in.
func TestWildRelayFirst(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		srv, c, host := wildRelay(t, in, in.NAT(natsim.PortRestricted()).Network)
		from := func(host netip.Addr, data string) []byte {
			return teredo.AppendEchoReply(nil, host, teredo.AppendEchoRequest(nil, c.Addr(), host, 7, 1, []byte(data)))
		}
		srv.Relay(from(host, "first"))
		if got, ok := c.Await(time.Second); ok {
			t.Errorf("got %q before a test", got.Data())
		}
		srv.Relay(from(host, "second"))
		if got := c.Next(time.Second); got.Data() != "second" {
			t.Errorf("got %q", got.Data())
		}
		before := c.Status().Drops["unknown-peer"]
		server := netip.AddrPortFrom(srv.Primary, teredo.Port)
		in.Spoof(server, teredo.Mapped(c.Addr()), from(netip.MustParseAddr("2001:db8:77::2"), "forged"))
		sent := teredo.AppendEchoRequest(nil, c.Addr(), host, 7, 1, nil)
		in.Spoof(server, teredo.Mapped(c.Addr()), teredo.AppendUnreachable(nil, netip.MustParseAddr("2001:db8:77::3"), 0, sent))
		if got, ok := c.Await(10 * time.Second); ok {
			t.Errorf("got %s %q", got.Kind(), got.Data())
		}
		if n := c.Status().Drops["unknown-peer"] - before; n != 2 {
			t.Errorf("%d packets were dropped", n)
		}
	})
}
