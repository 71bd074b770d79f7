package tunnel_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

const (
	refreshInterval = 30 * time.Second
	noAnswer        = 3 * 4 * time.Second // K-04
	requalify       = 10 * time.Second    // the longest wait after a first failure
)

// When the server goes, the client notices within its refresh interval and the time-outs of its solicitations (C-MNT-07).
// It withdraws the address and says why; when the server is back, it has the same address again (W-ADDR-07).
func TestServerOutage(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c, host := w.qualified(at), w.Native()
		old := c.Addr()
		time.Sleep(3 * time.Minute)
		w.server.Stop()
		c.AwaitNoAddr(refreshInterval + noAnswer)
		s := c.Status()
		if s.State != "offline" || !strings.Contains(s.LastError, "has stopped answering") || !strings.HasPrefix(s.WaitingFor, "next attempt in") {
			t.Errorf("status %+v", s)
		}
		time.Sleep(time.Minute)
		w.server.Start()
		if addr := c.AwaitAddr(5 * time.Minute); addr != old {
			t.Errorf("address %v, and %v before", addr, old)
		}
		host.Send(old, "hello")
		if got := c.Next(time.Second); got.Data() != "hello" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
	})
}

// An outage that is shorter than the time-outs goes unnoticed: the address stays, and so do paths to peers.
func TestShortServerOutage(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		p, q := w.NAT(natsim.PortRestricted()).Network, w.NAT(natsim.PortRestricted()).Network
		a, b := w.qualified(p), w.qualified(q)
		f := a.Stream(b.Addr(), pace, 900)
		time.Sleep(30 * time.Second)
		w.server.Stop()
		time.Sleep(8 * time.Second)
		w.server.Start()
		checkFlowOf(t, f, clientToClient, direct, time.Minute)
		if past := a.PastAddrs(); len(past) != 1 || a.Status().State != "qualified" {
			t.Errorf("the client had the addresses %v", past)
		}
	})
}

// With a server that answers nonsense the client is offline, and the status tells what was wrong with the answers.
func TestForgedAdvertisement(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		w.server.Stop()
		c := w.Client(w.server)
		mapped := netip.AddrPortFrom(c.Host.Addr(), c.Conn.LocalAddr().Port())
		server := netip.AddrPortFrom(w.server.Primary, teredo.Port)
		forged := teredo.AppendOrigin(nil, mapped)
		forged = teredo.AppendRouterAdvertisement(forged, w.server.Primary, teredo.ClientLinkLocal(false, netip.AddrPort{}))
		time.Sleep(time.Second)
		w.Spoof(server, mapped, forged)
		time.Sleep(time.Second)
		s := c.Status()
		if s.State != "starting" || !strings.Contains(s.LastError, "no authentication encapsulation") || s.Drops["advertisement"] != 1 {
			t.Errorf("status %+v", s)
		}
		if want := "router advertisement from " + w.server.Primary.String(); !strings.HasPrefix(s.WaitingFor, want) {
			t.Errorf("waits for %q", s.WaitingFor)
		}
	})
}

// Of two servers the first is used while it serves, the other one when it does not (SEC-FAIL-01).
func TestServerFailover(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		other := w.Server()
		c := w.NAT(natsim.PortRestricted()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			cfg.Servers = append(cfg.Servers, other.Lookup)
		})
		old := c.AwaitAddr(time.Minute)
		checkAddress(t, old, w.server.Primary)
		w.server.Stop()
		addr := c.AwaitOtherAddr(refreshInterval+noAnswer+time.Second, old)
		checkAddress(t, addr, other.Primary)
		host := w.Native()
		host.Send(addr, "hello")
		if got := c.Next(time.Second); got.Data() != "hello" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
		w.server.Start()
		time.Sleep(10 * time.Minute)
		if c.Addr() != addr {
			t.Errorf("the client has left a server that serves for %v", c.Addr())
		}
	})
}

// The peer that nobody answers for: the sender of what waited for it learns that after four bubbles or tests, 2 s each
// (C-TX-02, C-TX-06, C-TX-09).
func TestUnreachable(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		c := w.qualified(w.NAT(natsim.PortRestricted()).Network)
		nobody := teredo.Address{Server: w.server.Primary, Mapped: netip.AddrPortFrom(w.Host().Addr(), 4000)}.Addr()
		for _, to := range []netip.Addr{nobody, netip.MustParseAddr("2001:db8:ffff::1")} {
			start := w.Now()
			c.Send(to, "hello")
			got := c.Next(time.Minute)
			if got.Kind() != "unreachable" || got.At != start+tries*timeout {
				t.Errorf("received %s after %v", got.Kind(), got.At-start)
			}
			if invoking := got.Packet[teredo.HeaderLen+8:]; teredo.Destination(invoking) != to || teredo.Source(invoking) != c.Addr() {
				t.Errorf("the error is about a packet from %v to %v", teredo.Source(invoking), teredo.Destination(invoking))
			}
		}
		if drops := c.Status().Drops; drops["no-path"] != 2 {
			t.Errorf("dropped %v", drops)
		}
	})
}

// The same from a relay, for native hosts (R-TX-06).
func TestUnreachableFromRelay(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		host := w.Native()
		nobody := teredo.Address{Server: w.server.Primary, Mapped: netip.AddrPortFrom(w.Host().Addr(), 4000)}.Addr()
		host.Send(nobody, "hello")
		if got := host.Next(time.Minute); got.Kind() != "unreachable" || got.At != tries*timeout+2*hop {
			t.Errorf("received %s at %v", got.Kind(), got.At)
		}
	})
}
