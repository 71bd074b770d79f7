package tunnel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// withExtensions has a client use all of RFC 6081, as the program does.
func withExtensions(cfg *tunnel.ClientConfig) { cfg.Extensions = allExtensions() }

// A client that uses RFC 6081, as the program does, is up after one exchange with its server, also with a server of one address, behind any
// NAT, and when it comes back to the network (C-QUAL-06, with the deviation).
func TestUpAtFirstAnswer(t *testing.T) {
	for name, options := range map[string][]natsim.ServerOption{"two addresses": nil, "one address": {natsim.OneAddress}} {
		t.Run(name, func(t *testing.T) {
			for _, kind := range natKinds() {
				t.Run(kind.name, func(t *testing.T) {
					natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
						s := in.Server(options...)
						c, nat := kind.behind(in.Network, s, allExtensions())
						addr := c.AwaitAddr(2 * hop)
						time.Sleep(time.Minute)
						if now := c.Status(); now.Address != addr || now.LastError != "" || now.WaitingFor != "" {
							t.Errorf("status %+v", now)
						}
						c.Unplug()
						c.AwaitNoAddr(0)
						time.Sleep(10 * time.Second)
						c.Move(nat.Network)
						c.AwaitAddr(2 * hop)
					})
				})
			}
		})
	}
}

// A server that is gone takes nothing away that works: the addresses stay, and so does the direct path between two clients. A
// new path waits for the server. When it is back, the clients are fully back within 5 s (C-MNT-07).
func TestServerGoneUnderTraffic(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		a := w.NAT(natsim.PortRestricted()).Client(w.server, withExtensions)
		b := w.NAT(natsim.PortRestricted()).Client(w.server, withExtensions)
		idle := w.NAT(natsim.PortRestricted()).Client(w.server, withExtensions)
		host := w.Native()
		old := a.AwaitAddr(time.Second)
		b.AwaitAddr(time.Second)
		f := a.Stream(b.Addr(), pace, int(10*time.Minute/pace))
		g := b.Stream(a.Addr(), pace, int(10*time.Minute/pace))
		time.Sleep(time.Minute)
		w.server.Stop()
		time.Sleep(5 * time.Minute)
		s := a.Status()
		if s.State != "qualified" || s.Address != old || s.SilentSeconds < 4*60 || !strings.Contains(s.LastError, "has stopped answering") {
			t.Errorf("status %+v", s)
		}
		if s := idle.Status(); s.State != "offline" || s.Address.IsValid() || s.SilentSeconds < 4*60 {
			t.Errorf("status of the client without a path: %+v", s)
		}
		a.Send(host.Addr(), "lost")
		if got := a.Next(time.Minute); got.Kind() != "unreachable" {
			t.Errorf("received %s", got.Kind())
		}
		w.server.Start()
		time.Sleep(5 * time.Second)
		for _, c := range []*natsim.Client{a, b, idle} {
			if s := c.Status(); s.State != "qualified" || s.SilentSeconds != 0 || s.LastError != "" {
				t.Errorf("5 s after the return of the server: %+v", s)
			}
		}
		a.Send(host.Addr(), "hello")
		if got := host.Next(time.Second); got.Data() != "hello" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
		checkFlowOf(t, f, clientToClient, direct, 5*time.Minute)
		checkFlowOf(t, g, clientToClient, direct, 0)
		if past := a.PastAddrs(); len(past) != 1 {
			t.Errorf("the client had the addresses %v", past)
		}
	})
}

// A client that starts again with the port and the address of its last run has the same address (W-ADDR-07). A flow to it goes on.
func TestStartsAgain(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		nat := w.NAT(natsim.PortRestricted())
		c := nat.Client(w.server, withExtensions)
		addr := c.AwaitAddr(time.Second)
		c.Stop()
		again := c.Again(func(cfg *tunnel.ClientConfig) { cfg.Last, _ = teredo.ParseAddress(addr) })
		if got := again.AwaitAddr(time.Second); got != addr {
			t.Errorf("address %v, and %v before", got, addr)
		}
		host := w.Native()
		host.Send(addr, "hello")
		if got := again.Next(time.Second); got.Data() != "hello" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
	})
}

// X-UPNP-02: a gateway may map the port only when the NAT has made its mappings already. Then the pairs that connect with a quick gateway do
// so, too, but for one: two symmetric NATs let packets leave by the port that was asked for only when its mapping was there
// before the first packet (RFC 6081 §3.2), which is why §5.3.3 has the gateway asked first.
func TestSlowGateway(t *testing.T) {
	slow := func(nat *natsim.NAT) func(*tunnel.ClientConfig) {
		return func(cfg *tunnel.ClientConfig) {
			cfg.Extensions = allExtensions()
			cfg.PortMap = func(ctx context.Context, r tunnel.PortMapRequest) {
				time.Sleep(time.Second)
				nat.PortMap(ctx, r)
			}
		}
	}
	for _, from := range natKinds() {
		for _, to := range natKinds() {
			if !from.upnp && !to.upnp {
				continue
			}
			t.Run(from.name+" to "+to.name, func(t *testing.T) {
				var quick, late outcome
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					quick = pair(in, from, to, allExtensions(), 1).connect()
				})
				natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
					p := &pairing{Internet: in}
					home := in.Server()
					start := func(k natKind) (*natsim.Client, *natsim.NAT) {
						nat := in.NAT(k.cfg)
						option := withExtensions
						if k.upnp {
							option = slow(nat)
						}
						return nat.Client(home, option, func(cfg *tunnel.ClientConfig) { cfg.Discovery = nil }), nat
					}
					p.from, p.fromNAT = start(from)
					p.to, p.toNAT = start(to)
					time.Sleep(10 * time.Second)
					late = p.connect()
				})
				symmetric := from.upnp && to.upnp && from.cfg == natsim.Symmetric() && to.cfg == natsim.Symmetric()
				if quick.connected && late.connected == symmetric {
					t.Errorf("connected with a slow gateway: %t", late.connected)
				}
			})
		}
	}
}
