package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/tunnel"
)

// refreshInterval is a flag that holds the refresh interval, or says that it is to be determined.
type refreshInterval struct {
	fixed time.Duration
	auto  bool
}

// UnmarshalText parses a duration or "auto".
func (i *refreshInterval) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*i = refreshInterval{auto: true}
		return nil
	}
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is neither a duration, such as 30s, nor auto", text)
	}
	if err := qualify.CheckInterval(d); err != nil {
		return err
	}
	*i = refreshInterval{fixed: d}
	return nil
}

// setRefresh configures the refresh interval or its determination.
func (r *run) setRefresh(cfg *tunnel.ClientConfig) {
	cfg.Interval = r.RefreshInterval.fixed
	if r.RefreshInterval.auto {
		cfg.SecondaryPort = r.openRandomPort
	}
}

// bindAddr is the local address to use, 0.0.0.0 when the route to the server decides.
func (r *run) bindAddr() netip.Addr {
	if r.Bind.IsValid() {
		return r.Bind.Addr
	}
	return netip.IPv4Unspecified()
}
