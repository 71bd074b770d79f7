package tunnel_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Whatever a client is doing, it ends at once when it is told to, without an error, and leaves no goroutine behind: the
// bubble of the scenario would not end.
func TestShutdown(t *testing.T) {
	for _, test := range []struct {
		state string
		reach func(w *world) *natsim.Client
	}{
		{"initial, looking up the server", func(w *world) *natsim.Client {
			return w.Client(w.server, func(cfg *tunnel.ClientConfig) {
				cfg.Servers = []tunnel.Lookup{func(ctx context.Context, _ tunnel.Servers) (tunnel.Servers, time.Duration, error) {
					<-ctx.Done()
					return tunnel.Servers{}, 0, ctx.Err()
				}}
			})
		}},
		{"starting", func(w *world) *natsim.Client {
			w.server.Stop()
			return w.Client(w.server)
		}},
		{"offline", func(w *world) *natsim.Client {
			w.server.Stop()
			c := w.Client(w.server)
			time.Sleep(time.Minute)
			return c
		}},
		{"qualified", func(w *world) *natsim.Client { return w.qualified(w.NAT(natsim.Cone()).Network) }},
		{"sending", func(w *world) *natsim.Client {
			a, b := w.qualified(w.NAT(natsim.Cone()).Network), w.qualified(w.NAT(natsim.Cone()).Network)
			a.Stream(b.Addr(), time.Millisecond, 1000)
			b.Stream(a.Addr(), time.Millisecond, 1000)
			return a
		}},
		{"searching", func(w *world) *natsim.Client {
			c := w.qualified(w.NAT(natsim.Cone()).Network)
			c.Send(netip.MustParseAddr("2001:db8:ffff::1"), "hello")
			return c
		}},
		{"without a network", func(w *world) *natsim.Client {
			c := w.qualified(w.NAT(natsim.Cone()).Network)
			c.Unplug()
			return c
		}},
		{"yielding", func(w *world) *natsim.Client {
			c := w.Client(w.server)
			if err := c.Tunnel.NetworkChanged(context.Background(), tunnel.Network{Native: "eth0"}); err != nil {
				w.t.Error(err)
			}
			return c
		}},
	} {
		for _, after := range []time.Duration{0, time.Millisecond, 10 * time.Second} {
			t.Run(fmt.Sprintf("%s for %v", test.state, after), func(t *testing.T) {
				scenario(t, func(t *testing.T, w *world) {
					c := test.reach(w)
					time.Sleep(after)
					begun := w.Now()
					c.Stop()
					if w.Now() != begun {
						t.Errorf("ended after %v", w.Now()-begun)
					}
					if _, err := c.Tunnel.Status(context.Background()); err == nil {
						t.Error("a client that has ended tells its status")
					}
					w.relay.Stop()
				})
			})
		}
	}
}

// Once a client has ended nothing is sent any more.
func TestSilentAfterShutdown(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a, b := w.qualified(w.NAT(natsim.Cone()).Network), w.qualified(w.NAT(natsim.Cone()).Network)
		a.Send(b.Addr(), "hello")
		b.Next(time.Second)
		a.Stop()
		begun := w.Now()
		time.Sleep(time.Hour)
		for _, r := range w.Sent(natsim.Any) {
			if r.At > begun && r.Hop == a.Host.Name() {
				t.Fatalf("sent: %v", r)
			}
		}
	})
}

// A client or relay whose interface somebody removes says so, and ends.
func TestDeviceRemoved(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.qualified(w.Network)
		for _, p := range []struct {
			remove func() error
			wait   func() error
		}{{c.Device.Close, c.Wait}, {w.relay.Device.Close, w.relay.Wait}} {
			if err := p.remove(); err != nil {
				t.Fatal(err)
			}
			if err := p.wait(); err == nil || !strings.Contains(err.Error(), "removed by another program") {
				t.Errorf("ended with: %v", err)
			}
		}
	})
}

// Status and peers of a relay.
func TestRelayStatus(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c, host := w.qualified(w.NAT(natsim.PortRestricted()).Network), w.Native()
		host.Send(c.Addr(), "hello")
		c.Next(time.Second)
		s := w.relay.Status()
		if s.State != "running" || s.Local != w.relay.Conn.LocalAddr() || s.Peers != 1 || len(s.Drops) > 0 || s.UptimeSeconds != w.Now().Seconds() {
			t.Errorf("status %+v", s)
		}
		peers, err := w.relay.Tunnel.Peers(context.Background())
		if err != nil || len(peers) != 1 || peers[0].Address != c.Addr() || peers[0].Endpoint != teredo.Mapped(c.Addr()) || peers[0].State != "trusted" {
			t.Errorf("peers %+v, error %v", peers, err)
		}
		peers, err = c.Tunnel.Peers(context.Background())
		relay := netip.AddrPortFrom(w.relay.Host.Addr(), w.relay.Conn.LocalAddr().Port())
		if err != nil || len(peers) != 1 || peers[0].Address != host.Addr() || peers[0].Endpoint != relay || peers[0].Path != "relay" {
			t.Errorf("peers %+v, error %v", peers, err)
		}
	})
}
