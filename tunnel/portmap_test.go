package tunnel_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// gateway is one that maps ports, or does not.
type gateway struct {
	w *world

	mu       sync.Mutex
	answer   time.Duration  // how long it takes to map a port; negative: for ever
	release  time.Duration  // how long it takes to remove the mapping
	external netip.AddrPort // zero: it maps none
	log      []string       // what it was asked, and when
	tell     func(external netip.AddrPort, protocol string)
}

func (g *gateway) note(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log = append(g.log, fmt.Sprintf("%v ", g.w.Now())+fmt.Sprintf(format, args...))
}

// mapPort is the PortMap of a client.
func (g *gateway) mapPort(ctx context.Context, r tunnel.PortMapRequest) {
	g.note("map for %v", r.Local.Addr())
	if g.answer >= 0 {
		select {
		case <-time.After(g.answer):
			g.mu.Lock()
			g.tell = r.Changed
			external := g.external
			g.mu.Unlock()
			r.Changed(external, "upnp")
		case <-ctx.Done():
		}
	}
	<-ctx.Done()
	time.Sleep(g.release)
	g.note("unmapped for %v", r.Local.Addr())
}

// change has the gateway map another external port.
func (g *gateway) change(external netip.AddrPort) {
	g.mu.Lock()
	tell := g.tell
	g.external = external
	g.mu.Unlock()
	tell(external, "upnp")
}

// client starts a client on a network with this gateway.
func (g *gateway) client(n *natsim.Network) *natsim.Client {
	return n.Client(g.w.server, func(cfg *tunnel.ClientConfig) {
		cfg.PortMap = g.mapPort
		cfg.Extensions = peer.Extensions{SymmetricNAT: true, Hairpinning: true}
	})
}

func (g *gateway) want(log ...string) {
	g.w.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.log, log) {
		g.w.t.Errorf("the gateway was asked %q, want %q", g.log, log)
	}
}

var granted = netip.MustParseAddrPort("198.51.100.7:40000")

// The client is up after one exchange with the server, whatever the gateway does and however long it takes (X-UPNP-02, X-HP-01,
// with the deviation). The status tells that it is asked, and what it has answered.
func TestGatewayDelaysNothing(t *testing.T) {
	for name, test := range map[string]struct {
		answer   time.Duration
		external netip.AddrPort
		mapping  string
	}{
		"mapped":         {100 * time.Millisecond, granted, "upnp " + granted.String()},
		"no mapping":     {100 * time.Millisecond, netip.AddrPort{}, "none"},
		"mapped at once": {0, granted, "upnp " + granted.String()},
		"silent":         {-1, granted, "none"},
		"comes late":     {3 * time.Second, granted, "upnp " + granted.String()},
	} {
		t.Run(name, func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				g := &gateway{w: w, answer: test.answer, external: test.external}
				c := g.client(w.NAT(natsim.PortRestricted()).Network)
				addr := c.AwaitAddr(2 * hop)
				if s := c.Status(); s.State != "qualified" || test.answer != 0 && !strings.Contains(s.WaitingFor, "the gateway to map UDP port") {
					t.Errorf("status %+v", s)
				}
				time.Sleep(time.Minute)
				s := c.Status()
				if s.Address != addr || s.PortMapping != test.mapping || s.NAT != "restricted" {
					t.Errorf("status %+v, want the port mapping %s and the address %v", s, test.mapping, addr)
				}
				if asked := test.answer < 0; asked != strings.Contains(s.WaitingFor, "gateway") {
					t.Errorf("waits for %q", s.WaitingFor)
				}
			})
		})
	}
}

// A mapping that comes late is used, and the server is asked whether it has changed what the NAT does.
func TestLateMapping(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, answer: 10 * time.Second, external: granted}
		nat := w.NAT(natsim.PortRestricted())
		c := g.client(nat.Network)
		c.AwaitAddr(time.Minute)
		old := c.Addr()
		time.Sleep(9*time.Second - w.Now())
		nat.Rebind()
		c.AwaitOtherAddr(time.Second+2*hop, old)
		if s := c.Status(); s.PortMapping != "upnp 198.51.100.7:40000" {
			t.Errorf("port mapping %q", s.PortMapping)
		}
		g.change(netip.MustParseAddrPort("198.51.100.8:40000"))
		if s := c.Status(); s.PortMapping != "upnp 198.51.100.8:40000" {
			t.Errorf("changed: port mapping %q", s.PortMapping)
		}
		g.change(netip.AddrPort{})
		if s := c.Status(); s.PortMapping != "none" {
			t.Errorf("lost: port mapping %q", s.PortMapping)
		}
		moved(t, w, c, old.String())
	})
}

// A client that moves has the old port unmapped before it asks for another; it gives up its address at once.
func TestMappingMoves(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, answer: 100 * time.Millisecond, release: 300 * time.Millisecond, external: granted}
		a, b := w.NAT(natsim.PortRestricted()), w.NAT(natsim.PortRestricted())
		b.Host() // has the address there that the client had before
		c := g.client(a.Network)
		c.AwaitAddr(time.Minute)
		old, first := c.Addr(), c.Host.Addr()
		time.Sleep(time.Minute - w.Now())
		c.Move(b.Network)
		c.AwaitNoAddr(0)
		if s := c.Status(); s.State != "starting" || s.PortMapping != "none" {
			t.Errorf("status %+v", s)
		}
		c.NetworkChanged() // again, while it waits
		c.AwaitOtherAddr(time.Minute, old)
		if got, want := w.Now(), time.Minute+2*hop; got != want {
			t.Errorf("qualified at %v, want %v", got, want)
		}
		moved(t, w, c, old.String())
		second := c.Host.Addr()
		time.Sleep(2*time.Minute - w.Now())
		c.Stop()
		g.want(fmt.Sprintf("0s map for %v", first), fmt.Sprintf("1m0.3s unmapped for %v", first),
			fmt.Sprintf("1m0.3s map for %v", second), fmt.Sprintf("2m0.3s unmapped for %v", second))
	})
}

// The end of the client waits until the port is unmapped (X-UPNP-09).
func TestUnmappedAtTheEnd(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, release: time.Second, external: granted}
		c := g.client(w.NAT(natsim.PortRestricted()).Network)
		c.AwaitAddr(time.Minute)
		time.Sleep(10*time.Second - w.Now())
		c.Stop()
		g.want(fmt.Sprintf("0s map for %v", c.Host.Addr()), fmt.Sprintf("11s unmapped for %v", c.Host.Addr()))
	})
}

// No gateway is asked where there is no NAT, and while the client yields to native IPv6.
func TestNobodyToAsk(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, answer: -1}
		c := g.client(w.Network)
		c.AwaitAddr(qualification)
		g.want()
	})
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, external: granted}
		c := g.client(w.NAT(natsim.PortRestricted()).Network)
		c.AwaitAddr(time.Minute)
		time.Sleep(time.Second - w.Now())
		if err := c.Tunnel.NetworkChanged(context.Background(), tunnel.Network{Native: "eth0"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		g.want(fmt.Sprintf("0s map for %v", c.Host.Addr()), fmt.Sprintf("1s unmapped for %v", c.Host.Addr()))
		if s := c.Status(); s.PortMapping != "none" {
			t.Errorf("port mapping %q", s.PortMapping)
		}
		if err := c.Tunnel.NetworkChanged(context.Background(), tunnel.Network{}); err != nil {
			t.Fatal(err)
		}
		c.AwaitAddr(time.Minute)
		if s := c.Status(); s.PortMapping == "none" {
			t.Error("no port mapping when native IPv6 is gone")
		}
	})
	scenario(t, func(t *testing.T, w *world) { // native IPv6 comes while the gateway is asked
		g := &gateway{w: w, answer: -1}
		c := g.client(w.NAT(natsim.PortRestricted()).Network)
		time.Sleep(time.Second)
		if err := c.Tunnel.NetworkChanged(context.Background(), tunnel.Network{Native: "eth0"}); err != nil {
			t.Fatal(err)
		}
		before := len(w.Sent(natsim.Any))
		time.Sleep(time.Minute)
		if s := c.Status(); s.State != "offline" || len(w.Sent(natsim.Any)) > before {
			t.Errorf("status %+v, %d packets", s, len(w.Sent(natsim.Any))-before)
		}
	})
}

// Another address of the NAT means that its gateway is asked again: the external address that it told is the old one.
func TestOutsideChanges(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, external: granted}
		nat := w.NAT(natsim.PortRestricted())
		c := g.client(nat.Network)
		c.AwaitAddr(time.Minute)
		old := c.Addr()
		time.Sleep(10*time.Second - w.Now())
		nat.Rebind() // another port only
		c.NetworkChanged()
		c.AwaitOtherAddr(time.Minute, old)
		g.want(fmt.Sprintf("0s map for %v", c.Host.Addr()))
		old = c.Addr()
		nat.Renumber()
		c.NetworkChanged()
		c.AwaitOtherAddr(time.Minute, old)
		at := w.Now()
		time.Sleep(10 * time.Second)
		g.want(fmt.Sprintf("0s map for %v", c.Host.Addr()),
			fmt.Sprintf("%v unmapped for %v", at, c.Host.Addr()), fmt.Sprintf("%v map for %v", at, c.Host.Addr()))
		if s := c.Status(); s.PortMapping == "none" {
			t.Error("no port mapping")
		}
	})
}

// X-UPNP-04, X-UPNP-06, X-HP-01, X-HP-02: peers are told of the external address and port, unless the server sees the same, which they
// know from the Teredo address.
func TestAlternateAddress(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		g := &gateway{w: w, external: granted}
		c := g.client(w.NAT(natsim.PortRestricted()).Network)
		c.AwaitAddr(time.Minute)
		local := netip.AddrPortFrom(c.Host.Addr(), c.Conn.LocalAddr().Port())
		for _, test := range []struct {
			external netip.AddrPort
			want     []netip.AddrPort
		}{
			{granted, []netip.AddrPort{local, granted}},
			{c.Status().Mapped, []netip.AddrPort{local}},
			{netip.AddrPort{}, []netip.AddrPort{local}},
			{netip.MustParseAddrPort("10.0.0.7:40000"), []netip.AddrPort{local, netip.MustParseAddrPort("10.0.0.7:40000")}},
		} {
			g.change(test.external)
			peer := w.qualified(w.NAT(natsim.PortRestricted()).Network)
			begun := w.Now()
			c.Send(peer.Addr(), "hello")
			peer.Next(time.Second)
			if got := alternates(w, c, begun); !slices.Equal(got, test.want) {
				t.Errorf("with the external address %v peers are told of %v, want %v", test.external, got, test.want)
			}
		}
	})
}

// alternates are the addresses in the first Alternate Address Trailer that a client has sent since a time.
func alternates(w *world, c *natsim.Client, since time.Duration) []netip.AddrPort {
	for _, r := range w.Sent(natsim.Any) {
		var p teredo.Packet
		if r.At < since || r.Hop != c.Host.Name() || p.Parse(r.Packet.Payload) != nil {
			continue
		}
		for rest := p.Trailers; ; {
			var t teredo.Trailer
			var ok bool
			if t, rest, ok = teredo.NextTrailer(rest); !ok {
				break
			}
			if list, ok := t.AlternateAddresses(nil); ok {
				return list
			}
		}
	}
	return nil
}
