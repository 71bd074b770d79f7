package main

import (
	"fmt"
	"time"

	"github.com/teredo-suite/teredo/qualify"
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
