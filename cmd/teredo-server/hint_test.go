package main

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/internal/server"
)

// Every field that server.Config.Check complains about has a hint.
func TestHint(t *testing.T) {
	public, private := netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("10.0.0.1")
	for want, cfg := range map[string]server.Config{
		"see --bind":  {},
		"see --bind2": {Primary: public, Secondary: public},
		"give the public one with --public, or allow its range with --permit-ipv4":  {Primary: private},
		"give the public one with --public2, or allow its range with --permit-ipv4": {Primary: public, Secondary: private},
	} {
		if err := cfg.Check(); err == nil || hint(err) != want {
			t.Errorf("hint for %v: %q, want %q", err, hint(err), want)
		}
	}
}
