package probe_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/mapport"
	"github.com/teredo-suite/teredo/internal/probe"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// distant makes a server whose link has the delay. A packet there and back meets it twice, and the host's 10 ms twice.
func distant(in *natsim.Internet, delay time.Duration, options ...natsim.ServerOption) *natsim.Server {
	s := in.Server(options...)
	s.SetLink(natsim.Link{Delay: delay})
	return s
}

// badServer answers each datagram with what answer makes of it.
func badServer(t *testing.T, in *natsim.Internet, answer func(solicitation *teredo.Packet, from netip.AddrPort) []byte) netip.Addr {
	h := in.Host()
	c := h.Listen(netip.AddrPortFrom(h.Addr(), teredo.Port))
	go func() {
		ms := make([]udp.Message, 8)
		for {
			n, err := c.ReadBatch(ms)
			if err != nil {
				return
			}
			for _, m := range ms[:n] {
				var p teredo.Packet
				if p.Parse(m.Buf[:m.N]) == nil {
					b := answer(&p, m.Remote)
					_, _ = c.WriteBatch([]udp.Message{{Buf: b, N: len(b), Remote: m.Remote}})
				}
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close() })
	return h.Addr()
}

// Of several servers the best is named, and each of the others has its reason. One that answers at both addresses is
// better than a nearer one that does not.
func TestServers(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		h := in.NAT(natsim.PortRestricted()).Host()
		stopped := in.Server()
		stopped.Stop()
		near := named("near", distant(in, 5*time.Millisecond))
		r := probeFrom(t, in, h, []probe.Server{
			named("far", distant(in, 50*time.Millisecond)),
			near,
			named("one address", distant(in, time.Millisecond, natsim.OneAddress)),
			named("silent", stopped),
			{Name: "unknown", Err: errors.New("the name does not exist")},
			{Name: "near again", Primary: near.Primary},
			{Name: "private", Primary: netip.MustParseAddr("10.0.0.1")},
		})
		if r.Best != "near" || r.NAT.Kind != probe.PortRestricted {
			t.Errorf("best %q, kind %q", r.Best, r.NAT.Kind)
		}
		if r.Seconds != 5.022 { // two transmissions to the silent one, and to the second address that is not there
			t.Errorf("it took %v s", r.Seconds)
		}
		checkGolden(t, "servers", r)
	})
}

// A server with one address tells how its clients are seen, and not more.
func TestOneAddress(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		r := probeFrom(t, in, in.NAT(natsim.Symmetric()).Host(), []probe.Server{named("s", in.Server(natsim.OneAddress))})
		if !r.Servers[0].Works || r.Servers[0].Works2 || r.NAT.Kind != "" {
			t.Errorf("%+v, kind %q", r.Servers[0], r.NAT.Kind)
		}
		checkGolden(t, "one-address", r)
	})
}

// Two such servers together tell the mapping behaviour.
func TestTwoOneAddresses(t *testing.T) {
	for kind, cfg := range map[probe.Kind]natsim.NATConfig{
		probe.PortRestricted: natsim.PortRestricted(), probe.SequentialPortSymmetric: natsim.Sequential(),
	} {
		natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
			a, b := in.Server(natsim.OneAddress), in.Server(natsim.OneAddress)
			r := probeFrom(t, in, in.NAT(cfg).Host(), []probe.Server{named("a", a), named("b", b)})
			if r.NAT.Kind != kind || r.NAT.Filtering != probe.Unknown {
				t.Errorf("kind %q, want %q; filtering %q", r.NAT.Kind, kind, r.NAT.Filtering)
			}
		})
	}
}

// The second address need not be the next one.
func TestSecondAddress(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		h := in.NAT(natsim.Symmetric()).Host()
		s := in.Server(natsim.OneAddress)
		silent := probe.Server{Name: "s", Primary: s.Primary, Secondary: in.Host().Addr()}
		if r := probeFrom(t, in, h, []probe.Server{silent}); !r.Servers[0].Works || r.Servers[0].Works2 {
			t.Errorf("%+v", r.Servers[0])
		}
	})
}

// Without an answer the probe ends after the client's three transmissions, or when the time is over, and says why.
func TestNoServerWorks(t *testing.T) {
	nonce := func(p *teredo.Packet, from netip.AddrPort) []byte {
		p.Auth.Nonce[0] ^= 1
		b := teredo.AppendOrigin(teredo.AppendAuth(nil, p.Auth), from)
		return teredo.AppendRouterAdvertisement(b, netip.MustParseAddr("198.18.0.1"), teredo.Source(p.IPv6))
	}
	for name, test := range map[string]struct {
		answer  func(*teredo.Packet, netip.AddrPort) []byte // nil: none
		timeout time.Duration
		seconds float64
		why     string
	}{
		"silent":        {nil, 0, 12, "198.18.0.1 does not answer (asked from 4 ports, 3 times each)"},
		"silent, short": {nil, 3 * time.Second, 3, "198.18.0.1 does not answer (asked from 4 ports, once each)"},
		"noise":         {func(*teredo.Packet, netip.AddrPort) []byte { return []byte("hello, world") }, 0, 12, "it is not a Teredo server"},
		"echo":          {func(p *teredo.Packet, _ netip.AddrPort) []byte { return p.IPv6 }, 0, 12, "it is not a Teredo server"},
		"wrong nonce":   {nonce, 0, 12, "answers, but not with a valid router advertisement: its nonce is not the one sent"}, // C-SEC-02
	} {
		t.Run(name, func(t *testing.T) {
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				server := in.Host().Addr()
				if test.answer != nil {
					server = badServer(t, in, test.answer)
				}
				r := probeFrom(t, in, in.NAT(natsim.PortRestricted()).Host(), []probe.Server{{Name: "bad", Primary: server}},
					func(cfg *probe.Config) { cfg.Timeout = test.timeout })
				if s := r.Servers[0]; s.Works || s.Best || !strings.Contains(s.Explanation, test.why) {
					t.Errorf("%+v, want %q", s, test.why)
				}
				if r.Best != "" || r.Seconds != test.seconds || len(r.Mapped) > 0 || r.NAT.Kind != "" {
					t.Errorf("%+v", r)
				}
				if strings.HasPrefix(name, "silent,") {
					checkGolden(t, "silent", r)
				}
			})
		})
	}
}

// Where nothing can be sent, nothing is waited for.
func TestNoNetwork(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		h, s := in.NAT(natsim.Cone()).Host(), in.Server()
		h.Unplug()
		r := probeFrom(t, in, h, []probe.Server{named("s", s)})
		if r.Seconds != 0 || !strings.Contains(r.Servers[0].Explanation, syscall.ENETUNREACH.Error()) {
			t.Errorf("%+v", r)
		}
	})
}

// What arrives from others, or twice, changes nothing.
func TestStrangers(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat, s := in.NAT(natsim.Cone()), in.Server()
		s.SetLink(natsim.Link{Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Duplicate: 1})
		stranger := badServer(t, in, func(*teredo.Packet, netip.AddrPort) []byte { return nil })
		go func() {
			for port := 1024; port < 1<<16; port += 7 { // blindly
				in.Spoof(netip.AddrPortFrom(stranger, teredo.Port), netip.AddrPortFrom(nat.Addr(), uint16(port)), []byte("hello"))
			}
		}()
		r := probeFrom(t, in, nat.Host(), []probe.Server{named("s", s)})
		if s := r.Servers[0]; r.NAT.Kind != probe.Cone || !s.Works || !s.Works2 || s.Explanation != "" {
			t.Errorf("kind %q, %+v", r.NAT.Kind, s)
		}
	})
}

// An interruption ends it at once.
func TestInterrupted(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		nat := in.NAT(natsim.Cone())
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		given := false
		_, err := tryFrom(t, ctx, in, nat.Host(), []probe.Server{{Name: "s", Primary: in.Host().Addr()}}, func(cfg *probe.Config) {
			cfg.PortMap = func(ctx context.Context, _ mapport.Request) {
				<-ctx.Done() // a gateway that never answers
				given = true
			}
		})
		if err == nil || in.Now() != time.Second || !given {
			t.Errorf("after %v: %v; port given back: %v", in.Now(), err, given)
		}
	})
}

// Without ports there is no probe.
func TestNoPort(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		opened := 0
		_, err := tryFrom(t, context.Background(), in, in.Host(), []probe.Server{named("s", in.Server())}, func(cfg *probe.Config) {
			open := cfg.Open
			cfg.Open = func() (probe.Conn, error) {
				if opened++; opened > 2 {
					return nil, syscall.EMFILE
				}
				return open()
			}
		})
		if !errors.Is(err, syscall.EMFILE) {
			t.Errorf("error %v", err)
		}
	})
}

// W-RA-03: servers whose advertisements have bits after the prefix work.
func TestWildServers(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		h := in.NAT(natsim.PortRestricted()).Host()
		r := probeFrom(t, in, h, []probe.Server{named("wild", in.Server(natsim.Wild)), named("relay", in.Server(natsim.WildRelay))})
		for _, s := range r.Servers {
			if !s.Works || !s.Works2 {
				t.Errorf("%+v", s)
			}
		}
		if r.NAT.Kind != probe.PortRestricted || r.NAT.Filtering != probe.AddressOrPortDependent {
			t.Errorf("kind %q, filtering %q", r.NAT.Kind, r.NAT.Filtering)
		}
	})
}
