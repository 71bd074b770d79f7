package main

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/tunnel"
)

// C-MNT-05: the refresh interval can be configured.
func TestRefreshInterval(t *testing.T) {
	for text, want := range map[string]refreshInterval{
		"auto": {auto: true},
		"30s":  {fixed: 30 * time.Second},
		"1s":   {fixed: time.Second},
		"2m":   {fixed: 2 * time.Minute},
		"1h":   {fixed: time.Hour},
	} {
		var got refreshInterval
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":      `"" is neither a duration, such as 30s, nor auto`,
		"30":    `"30" is neither a duration, such as 30s, nor auto`,
		"never": `"never" is neither a duration, such as 30s, nor auto`,
		"999ms": "a refresh interval of 999ms is not from 1s to 1h0m0s",
		"-30s":  "a refresh interval of -30s is not from 1s to 1h0m0s",
		"61m":   "a refresh interval of 1h1m0s is not from 1s to 1h0m0s",
	} {
		var got refreshInterval
		if err := got.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestSetRefresh(t *testing.T) {
	var cfg tunnel.ClientConfig
	r := run{RefreshInterval: refreshInterval{fixed: time.Minute}}
	if r.setRefresh(&cfg); cfg.Interval != time.Minute || cfg.SecondaryPort != nil {
		t.Errorf("fixed: interval %v, a secondary port: %t", cfg.Interval, cfg.SecondaryPort != nil)
	}
	r = run{RefreshInterval: refreshInterval{auto: true}}
	if r.setRefresh(&cfg); cfg.Interval != 0 || cfg.SecondaryPort == nil {
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
