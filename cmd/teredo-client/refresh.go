package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/tunnel"
)

// refreshInterval is a flag that holds the refresh interval, or says that it is to be determined.
type refreshInterval struct {
	fixed time.Duration
	auto  bool
}

const (
	shortestRefresh = time.Second
	longestRefresh  = time.Hour
)

// UnmarshalText parses a duration or "auto".
func (i *refreshInterval) UnmarshalText(text []byte) error {
	if string(text) == "auto" {
		*i = refreshInterval{auto: true}
		return nil
	}
	d, err := time.ParseDuration(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is neither a duration, such as 30s, nor auto", text)
	case d < shortestRefresh || d > longestRefresh:
		return fmt.Errorf("a refresh interval of %v is not from %v to %v", d, shortestRefresh, longestRefresh)
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
