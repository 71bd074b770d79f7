package tunnel_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// determining is a client that determines its refresh interval, with the secondary ports that it has opened.
type determining struct {
	*natsim.Client
	ports chan *secondaryPort
}

// secondaryPort is a socket that remembers that it was closed.
type secondaryPort struct {
	*natsim.Conn
	closed atomic.Bool
}

func (p *secondaryPort) Close() error {
	p.closed.Store(true)
	return p.Conn.Close()
}

func (w *world) determining(n *natsim.Network) determining {
	w.t.Helper()
	host := make(chan *natsim.Host, 1)
	d := determining{ports: make(chan *secondaryPort, 100)}
	d.Client = n.Client(w.server, func(cfg *tunnel.ClientConfig) {
		cfg.SecondaryPort = func() (tunnel.Conn, error) {
			h := <-host
			host <- h
			port := &secondaryPort{Conn: h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))}
			d.ports <- port
			return port, nil
		}
	})
	host <- d.Host
	d.AwaitAddr(time.Minute)
	return d
}

// await sleeps until the determination has come to this state, and returns the interval.
func (d determining) await(t *testing.T, state string) time.Duration {
	t.Helper()
	for range 3600 {
		if s := d.Status(); s.RefreshState == state {
			return time.Duration(s.RefreshSeconds * float64(time.Second))
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("never %q; status %+v", state, d.Status())
	return 0
}

// checkClosed checks that the next port which the client has opened is closed again (C-INT-07).
func (d determining) checkClosed(t *testing.T) {
	t.Helper()
	if p := <-d.ports; !p.closed.Load() {
		t.Errorf("the secondary port %v is still open", p.LocalAddr())
	}
}

// C-INT-01..08, behind real NATs: the interval in use is one that the NAT stands.
func TestDeterminesInterval(t *testing.T) {
	for _, tt := range []struct{ lifetime, want time.Duration }{
		{35 * time.Second, 30 * time.Second},
		{50 * time.Second, 45 * time.Second},
		{100 * time.Second, 90 * time.Second},
		{time.Hour, 118125 * time.Millisecond},
	} {
		t.Run(tt.lifetime.String(), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				cfg := natsim.PortRestricted()
				cfg.Lifetime = tt.lifetime
				c := w.determining(w.NAT(cfg).Network)
				addr := c.Addr()
				c.await(t, "determining (candidate 1m0s)")
				if got := c.await(t, "determined"); got != tt.want {
					t.Errorf("interval %v, want %v", got, tt.want)
				}
				c.checkClosed(t)
				before := len(w.Sent(natsim.Kind("solicitation")))
				time.Sleep(time.Hour)
				if c.Addr() != addr {
					t.Errorf("the mapping was lost: address %v, was %v", c.Addr(), addr)
				}
				n := time.Duration(len(w.Sent(natsim.Kind("solicitation"))) - before)
				if n < time.Hour/tt.want || n > time.Hour/(tt.want*3/4)+1 {
					t.Errorf("%d solicitations in an hour at an interval of %v", n, tt.want)
				}
			})
		})
	}
}

// With a new mapping, which may be that of another NAT, it begins anew.
func TestDeterminesIntervalAnew(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		long, short := natsim.PortRestricted(), natsim.PortRestricted()
		long.Lifetime, short.Lifetime = 100*time.Second, 35*time.Second
		c := w.determining(w.NAT(long).Network)
		if got := c.await(t, "determined"); got != 90*time.Second {
			t.Fatalf("interval %v", got)
		}
		old := c.Addr()
		c.Move(w.NAT(short).Network)
		c.AwaitOtherAddr(time.Minute, old)
		if s := c.Status(); s.RefreshSeconds != 30 {
			t.Errorf("interval %v s behind the new NAT", s.RefreshSeconds)
		}
		if got := c.await(t, "determined"); got != 30*time.Second {
			t.Errorf("interval %v", got)
		}
		c.checkClosed(t)
		c.checkClosed(t)
	})
}

// It ends when the service port loses its address, and with the client.
func TestDeterminationEnds(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.determining(w.NAT(natsim.PortRestricted()).Network)
		time.Sleep(10 * time.Second)
		w.server.Stop()
		time.Sleep(time.Minute)
		if s := c.Status(); s.State == "qualified" || s.RefreshState != "" || s.RefreshSeconds != 30 {
			t.Errorf("status %+v", s)
		}
		c.checkClosed(t)
		w.server.Start()
		c.AwaitAddr(10 * time.Minute)
		time.Sleep(time.Second)
		c.Stop()
		c.checkClosed(t)
	})
}

func TestDeterminationWithoutPort(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.NAT(natsim.Cone()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			cfg.SecondaryPort = func() (tunnel.Conn, error) { return nil, errors.New("too many open files") }
		})
		c.AwaitAddr(time.Minute)
		time.Sleep(time.Hour)
		if s := c.Status(); s.RefreshState != "not determined: too many open files" || s.RefreshSeconds != 30 || s.State != "qualified" {
			t.Errorf("status %+v", s)
		}
	})
}

// C-MNT-05: an interval that is configured is the one in use.
func TestConfiguredInterval(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.NAT(natsim.Cone()).Client(w.server, func(cfg *tunnel.ClientConfig) { cfg.Interval = 10 * time.Second })
		c.AwaitAddr(time.Minute)
		time.Sleep(10 * time.Minute)
		if n := len(w.Sent(natsim.Kind("solicitation"))); n < 2+60 || n > 2+80 {
			t.Errorf("%d solicitations in ten minutes", n)
		}
		if s := c.Status(); s.RefreshSeconds != 10 || s.RefreshState != "" {
			t.Errorf("status %+v", s)
		}
	})
}

// The legacy cone phase: C-QUAL-04, C-QUAL-12, C-MNT-02.
func TestConePhase(t *testing.T) {
	for _, tt := range []struct {
		name string
		nat  natsim.NATConfig
		want string
		cone bool
	}{
		{"cone", natsim.Cone(), "cone", true},
		{"restricted", natsim.Restricted(), "restricted", false},
		{"port-restricted", natsim.PortRestricted(), "restricted", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				c := w.NAT(tt.nat).Client(w.server, func(cfg *tunnel.ClientConfig) { cfg.ConePhase = true })
				addr := c.AwaitAddr(time.Minute)
				if s := c.Status(); s.NAT != tt.want || teredo.ConeBit(addr) != tt.cone {
					t.Errorf("NAT %s, address %v", s.NAT, addr)
				}
				time.Sleep(time.Hour)
				if past := c.PastAddrs(); c.Addr() != addr || len(past) != 1 {
					t.Errorf("address %v, after %v", c.Addr(), past)
				}
				host := w.Native()
				host.Send(addr, "hello")
				if got := c.Next(time.Second); got.Data() != "hello" {
					t.Errorf("received %s %q", got.Kind(), got.Data())
				}
			})
		})
	}
}

// A determination under way shows in the status in words.
func TestDeterminationStatus(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.determining(w.NAT(natsim.PortRestricted()).Network)
		if s := c.Status(); !strings.HasPrefix(s.RefreshState, "determining (") {
			t.Errorf("status %+v", s)
		}
	})
}
