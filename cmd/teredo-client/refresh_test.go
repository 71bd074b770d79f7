package main

import (
	"testing"
	"time"
)

// C-MNT-05: the refresh interval can be configured, within bounds.
func TestRefreshInterval(t *testing.T) {
	for text, want := range map[string]refreshInterval{
		"auto": {auto: true},
		"30s":  {fixed: 30 * time.Second},
		"5s":   {fixed: 5 * time.Second},
		"5m":   {fixed: 5 * time.Minute},
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
		"4.9s":  "a refresh interval of 4.9s is not possible: choose one from 5s to 5m0s",
		"-30s":  "a refresh interval of -30s is not possible: choose one from 5s to 5m0s",
		"5m1s":  "a refresh interval of 5m1s is not possible: choose one from 5s to 5m0s",
	} {
		var got refreshInterval
		if err := got.UnmarshalText([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
