package teredonet_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/teredonet"
)

// loopback is a Teredo server and its clients on addresses of the loopback interface that no other process uses.
type loopback struct {
	base    netip.Addr // the first address of the server
	stop    context.CancelFunc
	stopped chan struct{}
}

// filter takes the addresses of the loopback interface for global ones.
func filter() teredo.Filter {
	return teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func onLoopback() (*loopback, error) {
	pid := os.Getpid()
	l := &loopback{base: netip.AddrFrom4([4]byte{127, byte(100 + pid>>12&63), byte(pid >> 4), byte(1 + pid&15<<4)}), stopped: make(chan struct{})}
	s, err := server.New(server.Config{Primary: l.base, Secondary: l.base.Next(), Filter: filter()}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop = cancel
	go func() {
		defer close(l.stopped)
		_ = s.Run(ctx)
	}()
	return l, nil
}

// close ends the server.
func (l *loopback) close() {
	l.stop()
	<-l.stopped
}

// client is the configuration of the n-th client, from 1 on.
func (l *loopback) client(n int) teredonet.Config {
	addr := l.base.Next()
	for range n {
		addr = addr.Next()
	}
	return teredonet.Config{
		Servers: []string{l.base.String()}, Bind: addr, Permit: filter().Permit, NoLocalDiscovery: true, NoPortMapping: true,
		Disable: []string{"hairpinning"}, // its trailers must not name loopback addresses (RFC 6081 §4.3)
	}
}

// The next run has the port and the address of the one before.
func TestState(t *testing.T) {
	l, err := onLoopback()
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	cfg := l.client(1)
	cfg.State = t.TempDir() + "/teredo."
	var addrs []netip.Addr
	for range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		n, err := teredonet.Up(ctx, cfg)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, n.Addr())
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if addrs[0] != addrs[1] {
		t.Errorf("addresses %v", addrs)
	}
}

func TestCheck(t *testing.T) {
	for want, cfg := range map[string]teredonet.Config{
		"no Teredo server is given: name one such as teredo.example.net or 192.0.2.1": {},
		"there are second addresses for 2 servers, but only 1 servers":                {Servers: []string{"a.example"}, Servers2: []string{"b.example", "c.example"}},
		"a refresh interval of 1s is not possible: choose one from 5s to 5m0s":        {Servers: []string{"a.example"}, RefreshInterval: 1e9},
		`there is no extension "gro" to turn off: choose from symmetric-nat, upnp, port-preserving, sequential, hairpinning, load-reduction`: {
			Servers: []string{"a.example"}, Disable: []string{"gro"},
		},
	} {
		if _, err := teredonet.Start(cfg); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
