package tunnel_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// secureServer is a server that serves only clients with a secret. It may be at several sites, which take turns.
type secureServer struct {
	sites []*server.Handler
	turn  atomic.Int64
	addrs [2]netip.Addr
	conns [2]*natsim.Conn
}

// secureServer adds a server with a site for each list of secrets; nil: the site does not answer.
func (w *world) secureServer(secrets ...*server.Secrets) *secureServer {
	w.t.Helper()
	host := w.Host()
	s := &secureServer{addrs: [2]netip.Addr{host.Addr(), host.AddAddr()}}
	for _, list := range secrets {
		if list == nil {
			s.sites = append(s.sites, nil)
			continue
		}
		site, err := server.NewHandler(server.Config{Primary: s.addrs[0], Secondary: s.addrs[1], Filter: natsim.Filter(), Secrets: list})
		if err != nil {
			w.t.Fatal(err)
		}
		s.sites = append(s.sites, site)
	}
	for local, a := range s.addrs {
		s.conns[local] = host.Listen(netip.AddrPortFrom(a, teredo.Port))
	}
	for local := range s.addrs {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.serve(local)
		}()
		w.t.Cleanup(func() {
			s.conns[local].Close()
			<-ended
		})
	}
	return s
}

func (s *secureServer) serve(local int) {
	in := []udp.Message{{Buf: make([]byte, 2048)}}
	for {
		if _, err := s.conns[local].ReadBatch(in); err != nil {
			return
		}
		site := s.sites[(s.turn.Add(1)-1)%int64(len(s.sites))]
		if site == nil {
			continue
		}
		v := site.Handle(local, in[0].Remote, in[0].Buf[:in[0].N], make([]byte, 0, server.MaxOutput))
		if v.Action == server.Send {
			s.conns[v.Local].WriteBatch([]udp.Message{{Buf: v.Payload, N: len(v.Payload), Remote: v.To}}) // may be lost
		}
	}
}

// secureClient adds a client of the server that has the secret.
func (w *world) secureClient(n *natsim.Network, s *secureServer, secret string, options ...func(*tunnel.ClientConfig)) *natsim.Client {
	w.t.Helper()
	options = append(options, func(cfg *tunnel.ClientConfig) {
		cfg.ClientID, cfg.Secret = []byte("laptop"), []byte(secret)
		cfg.Servers = []tunnel.Lookup{func(context.Context, tunnel.Servers) (tunnel.Servers, time.Duration, error) {
			return tunnel.Servers{Primary: s.addrs[0], Secondary: s.addrs[1]}, 0, nil
		}}
	})
	return n.Client(w.server, options...)
}

// secretsOf has one client, whose secret expires at this time of the scenario, if any.
func secretsOf(secret string, expires time.Time) *server.Secrets {
	return server.NewSecrets([]server.Secret{{ClientID: "laptop", Key: []byte(secret), Expires: expires}}, time.Now)
}

// With the right secret a client qualifies and stays so, until the server tells it that its key has expired (C-SEC-01,
// C-SEC-03, C-SEC-04, S-RX-04, S-RS-06).
func TestSecureQualification(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		s := w.secureServer(secretsOf("teredo-secret", time.Now().Add(time.Hour)))
		c := w.secureClient(w.NAT(natsim.PortRestricted()).Network, s, "teredo-secret")
		addr := c.AwaitAddr(time.Minute)
		time.Sleep(59 * time.Minute)
		if st := c.Status(); c.Addr() != addr || len(st.Drops) > 0 {
			t.Errorf("status %+v", st)
		}
		time.Sleep(2 * time.Minute)
		want := `the server says that the key of client "laptop" is no longer valid: get a new one`
		if st := c.Status(); st.State != "offline" || st.LastError != want || c.Addr().IsValid() {
			t.Errorf("status %+v, want %q", st, want)
		}
	})
}

// A wrong secret keeps the client off-line, and the status says why. The right one is taken into use at once.
func TestWrongSecret(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		s := w.secureServer(secretsOf("teredo-secret", time.Time{}))
		c := w.secureClient(w.NAT(natsim.PortRestricted()).Network, s, "guess")
		time.Sleep(time.Hour)
		if st := c.Status(); st.State != "offline" || !strings.Contains(st.LastError, `the same secret for client "laptop"`) {
			t.Errorf("status %+v", st)
		}
		if err := c.Tunnel.SetSecret(t.Context(), []byte("laptop"), []byte("teredo-secret")); err != nil {
			t.Fatal(err)
		}
		c.AwaitAddr(time.Second)
		if err := c.Tunnel.SetSecret(t.Context(), []byte("laptop"), nil); err == nil {
			t.Error("accepted an identifier without a secret")
		}
		time.Sleep(time.Minute)
		if st := c.Status(); st.State != "qualified" {
			t.Errorf("status %+v", st)
		}
	})
}

// A forged advertisement does nothing, but the status tells of it.
func TestForgedSecureAdvertisement(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		s := w.secureServer(secretsOf("teredo-secret", time.Time{}))
		c := w.secureClient(w.NAT(natsim.PortRestricted()).Network, s, "teredo-secret")
		addr := c.AwaitAddr(time.Minute)
		forged := teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("laptop")})
		forged = teredo.AppendOrigin(forged, netip.MustParseAddrPort("198.18.9.9:9"))
		forged = teredo.AppendRouterAdvertisement(forged, s.addrs[0], teredo.ClientLinkLocal(false, netip.AddrPort{}))
		w.Spoof(netip.AddrPortFrom(s.addrs[0], teredo.Port), teredo.Mapped(addr), forged)
		time.Sleep(time.Second)
		st := c.Status()
		if c.Addr() != addr || st.Drops["advertisement"] != 1 || !strings.HasSuffix(st.LastRefused, "refused: no router solicitation waits for an answer") {
			t.Errorf("status %+v", st)
		}
	})
}

// The secondary port takes the new secret, too.
func TestSetSecretWhileDetermining(t *testing.T) {
	scenario(t, func(t *testing.T, w *world) {
		s := w.secureServer(secretsOf("first", time.Time{}))
		nat := natsim.PortRestricted()
		nat.Lifetime = 50 * time.Second
		host := make(chan *natsim.Host, 1)
		c := w.secureClient(w.NAT(nat).Network, s, "first", func(cfg *tunnel.ClientConfig) {
			cfg.SecondaryPort = func() (tunnel.Conn, error) {
				h := <-host
				host <- h
				return h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)), nil
			}
		})
		host <- c.Host
		addr := c.AwaitAddr(time.Minute)
		time.Sleep(10 * time.Second)
		s.sites[0].SetSecrets(secretsOf("second", time.Time{}))
		if err := c.Tunnel.SetSecret(t.Context(), []byte("laptop"), []byte("second")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if st := c.Status(); c.Addr() != addr || st.RefreshSeconds != 45 || st.RefreshState != "determined" {
			t.Errorf("status %+v", st)
		}
	})
}
