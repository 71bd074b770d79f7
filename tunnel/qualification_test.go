package tunnel_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// A client qualifies in two exchanges, and its status tells all there is to know (C-QUAL-02, C-QUAL-03, C-QUAL-06,
// C-QUAL-07, C-QUAL-11, C-QUAL-12, ST-C-01).
func TestQualifies(t *testing.T) {
	eachPlace(t, func(t *testing.T, w *world, at *natsim.Network) {
		c := at.Client(w.server)
		addr := c.AwaitAddr(time.Minute)
		if w.Now() != qualification {
			t.Errorf("qualified at %v, want %v", w.Now(), qualification)
		}
		time.Sleep(time.Second)
		s := c.Status()
		local := netip.AddrPortFrom(c.Host.Addr(), c.Conn.LocalAddr().Port())
		nat := "restricted"
		if at == w.Network {
			nat = "none"
		}
		want := tunnel.ClientStatus{
			State: "qualified", Address: addr, Local: local, Mapped: teredo.Mapped(addr), Server: w.server.Primary, NAT: nat,
			RTTMillis: 40, HeardSeconds: (time.Second + 2*hop).Seconds(), Carrier: tunnel.Carrier{
				UptimeSeconds: (time.Second + qualification).Seconds(), Drops: map[string]uint64{},
				Traffic: tunnel.Traffic{SentPackets: s.SentPackets, SentBytes: s.SentBytes},
			},
		}
		checkStatus(t, s, want)
		if nat == "none" && s.Mapped != local || nat != "none" && s.Mapped == local {
			t.Errorf("mapped to %v from %v", s.Mapped, local)
		}
		checkAddress(t, addr, w.server.Primary)
	})
}

// checkAddress checks what RFC 4380 §4 and RFC 5991 §3 demand of the address.
func checkAddress(t *testing.T, addr, server netip.Addr) {
	t.Helper()
	a, ok := teredo.ParseAddress(addr)
	if !ok || a.Server != server || a.Flags&^teredo.FlagRandomMask != 0 {
		t.Errorf("address %v is %+v", addr, a)
	}
}

func checkStatus(t *testing.T, got, want tunnel.ClientStatus) {
	t.Helper()
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"state", got.State, want.State},
		{"address", got.Address, want.Address},
		{"local", got.Local, want.Local},
		{"mapped", got.Mapped, want.Mapped},
		{"server", got.Server, want.Server},
		{"nat", got.NAT, want.NAT},
		{"last_error", got.LastError, want.LastError},
		{"waiting_for", got.WaitingFor, want.WaitingFor},
		{"server_rtt_ms", got.RTTMillis, want.RTTMillis},
		{"server_heard_seconds_ago", got.HeardSeconds, want.HeardSeconds},
		{"peers", got.Peers, want.Peers},
		{"uptime_seconds", got.UptimeSeconds, want.UptimeSeconds},
		{"drops", len(got.Drops), len(want.Drops)},
	} {
		if field.got != field.want {
			t.Errorf("%s is %v, want %v", field.name, field.got, field.want)
		}
	}
}

// Nothing is sent before the server has been asked, and nothing but solicitations before it has answered (C-QUAL-01).
func TestSilentUntilQualified(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		w.server.Stop()
		c := w.NAT(natsim.Cone()).Client(w.server)
		c.SendPacket(teredo.AppendEchoRequest(nil, netip.MustParseAddr("2001:db8::5"), w.Native().Addr(), 1, 1, nil))
		time.Sleep(time.Minute)
		for _, r := range w.Sent(natsim.Any) {
			if r.Packet.Kind() != "solicitation" {
				t.Errorf("sent: %v", r)
			}
		}
		if drops := c.Status().Drops; drops["not-qualified"] != 1 {
			t.Errorf("dropped %v", drops)
		}
	})
}

// Behind a symmetric NAT there is no service, and the status says why and what helps (C-QUAL-08, C-QUAL-16).
func TestSymmetricNAT(t *testing.T) {
	for _, mapping := range []natsim.Behavior{natsim.AddressDependent, natsim.AddressAndPortDependent} {
		t.Run(mapping.String(), func(t *testing.T) {
			scenario(t, func(t *testing.T, w *world) {
				cfg := natsim.Symmetric()
				cfg.Mapping = mapping
				c := w.NAT(cfg).Client(w.server)
				time.Sleep(time.Second)
				s := c.Status()
				if s.State != "offline" || s.NAT != "symmetric" || s.Address.IsValid() || !strings.Contains(s.LastError, "have the client use that port") ||
					!strings.HasPrefix(s.WaitingFor, "next attempt in") {
					t.Errorf("status %+v", s)
				}
				time.Sleep(5 * time.Minute)
				if past := c.PastAddrs(); len(past) > 0 {
					t.Errorf("the client had the addresses %v", past)
				}
			})
		})
	}
}

// A port that the NAT reserves for the client is the way out of a symmetric NAT (RFC 4380 §5.2.10, C-CFG-02).
func TestReservedPort(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		nat := w.NAT(natsim.Symmetric())
		c := nat.Client(w.server)
		nat.Forward(40000, netip.AddrPortFrom(c.Host.Addr(), c.Conn.LocalAddr().Port()))
		addr := c.AwaitAddr(time.Minute)
		if want := netip.AddrPortFrom(nat.Addr(), 40000); teredo.Mapped(addr) != want {
			t.Errorf("mapped to %v, want %v", teredo.Mapped(addr), want)
		}
		host := w.Native()
		host.Send(addr, "hello")
		if got := c.Next(time.Second); got.Data() != "hello" {
			t.Errorf("received %s %q", got.Kind(), got.Data())
		}
	})
}

// While the server's name cannot be found the client tries again and says so; then it qualifies.
func TestLookupFails(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		asked := 0
		c := w.NAT(natsim.Cone()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			cfg.Servers = []tunnel.Lookup{func(ctx context.Context, current tunnel.Servers) (tunnel.Servers, time.Duration, error) {
				if asked++; asked <= 3 {
					return tunnel.Servers{}, 0, errors.New("no such name: teredo.example.net")
				}
				return w.server.Lookup(ctx, current)
			}}
		})
		time.Sleep(time.Second / 2)
		s := c.Status()
		if s.State != "initial" || s.LastError != "no such name: teredo.example.net" || s.WaitingFor == "" || s.Server.IsValid() {
			t.Errorf("status %+v", s)
		}
		c.AwaitAddr(time.Minute)
		if want := (1+2+4)*time.Second + qualification; w.Now() != want {
			t.Errorf("qualified at %v, want %v", w.Now(), want)
		}
		if s := c.Status(); s.LastError != "" || s.State != "qualified" {
			t.Errorf("status %+v", s)
		}
	})
}

// A server whose address changes is left when it does not serve any more at the old one.
func TestServerMoves(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		name := w.server // where the server's name leads to
		c := w.NAT(natsim.Cone()).Client(w.server, func(cfg *tunnel.ClientConfig) {
			cfg.Servers = []tunnel.Lookup{func(ctx context.Context, current tunnel.Servers) (tunnel.Servers, time.Duration, error) {
				servers, _, err := name.Lookup(ctx, current)
				return servers, time.Minute, err
			}}
		})
		old := c.AwaitAddr(time.Minute)
		name = w.Server()
		time.Sleep(5 * time.Minute)
		if c.Addr() != old {
			t.Errorf("the client has left a server that serves, for %v", c.Addr())
		}
		w.server.Stop()
		addr := c.AwaitOtherAddr(2*time.Minute, old)
		checkAddress(t, addr, name.Primary)
	})
}
