package client

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

func TestInterval(t *testing.T) {
	cfg, err := NewHost(Options{Interval: time.Minute, Log: slog.Default()}).Config()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Interval != time.Minute || cfg.SecondaryPort != nil {
		t.Errorf("fixed: interval %v, a secondary port: %t", cfg.Interval, cfg.SecondaryPort != nil)
	}
	if cfg, err = NewHost(Options{DetermineInterval: true, Log: slog.Default()}).Config(); err != nil {
		t.Fatal(err)
	}
	if cfg.Interval != 0 || cfg.SecondaryPort == nil {
		t.Fatalf("auto: interval %v, a secondary port: %t", cfg.Interval, cfg.SecondaryPort != nil)
	}
	conn, err := cfg.SecondaryPort()
	if err != nil {
		t.Fatal(err)
	}
	if conn.LocalAddr().Port() == 0 {
		t.Errorf("secondary port %v", conn.LocalAddr())
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// The next run has the port and the address of the one before, unless it is told not to. Without a place for files it has not.
func TestState(t *testing.T) {
	loopback, address := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2001:0:c000:201:0:63bf:3fff:fdd2")
	for _, test := range []struct {
		state    string
		new, has bool
	}{
		{filepath.Join(t.TempDir(), "x."), false, true},
		{filepath.Join(t.TempDir(), "x."), true, false},
		{"", false, false},
	} {
		o := Options{Bind: loopback, State: test.state, Log: slog.Default()}
		before := NewHost(o)
		conn, err := before.listen()
		if err != nil {
			t.Fatal(err)
		}
		port := conn.LocalAddr().Port()
		before.Note(address)
		before.keep(<-before.memory.latest)
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		o.NewAddress = test.new
		after := NewHost(o)
		cfg, err := after.Config()
		if err != nil {
			t.Fatal(err)
		}
		if has := cfg.Last.Addr() == address; has != test.has || (after.memory.last.Port == port) != test.has {
			t.Errorf("state %q, new %t: address %v, port %d of %d", test.state, test.new, cfg.Last, after.memory.last.Port, port)
		}
	}
}
