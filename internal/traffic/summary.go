package traffic

import (
	"encoding/json"
	"fmt"
	"math"
)

// Summary is a history in short: as JSON an object, as text one line.
type Summary struct {
	Today       Day     `json:"today"`
	Last30Days  Bytes   `json:"last_30_days"`         // including today
	IPv6Percent float64 `json:"ipv6_percent"`         // of today's bytes, Teredo included
	IPv6Month   float64 `json:"ipv6_percent_30_days"` // the same of 30 days
}

// Summary sums the days up.
func (r Report) Summary() Summary {
	s := Summary{Today: r.Today, IPv6Percent: r.Today.ipv6Percent()}
	for _, d := range r.Days {
		s.Last30Days.add(d.Bytes)
	}
	s.IPv6Month = s.Last30Days.ipv6Percent()
	return s
}

// ipv6Percent is the share of IPv6, native or by Teredo; 0 when there was no traffic.
func (b Bytes) ipv6Percent() float64 {
	ipv6 := float64(b.IPv6) + float64(b.Teredo)
	if all := ipv6 + float64(b.IPv4); all > 0 {
		return 100 * ipv6 / all
	}
	return 0
}

// String has the form "62 % IPv4, 30 % native IPv6, 8 % Teredo". The three add up to 100.
func (b Bytes) String() string {
	ipv4, both := float64(b.IPv4), float64(b.IPv4)+float64(b.IPv6)
	all := both + float64(b.Teredo)
	if all == 0 {
		return "none"
	}
	first, second := math.Round(100*ipv4/all), math.Round(100*both/all)
	return fmt.Sprintf("%.0f %% IPv4, %.0f %% native IPv6, %.0f %% Teredo", first, second-first, 100-second)
}

// MarshalText writes the line.
func (s Summary) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "today: %v (30 days: %v)", s.Today.Bytes, s.Last30Days), nil
}

// MarshalJSON writes the object.
func (s Summary) MarshalJSON() ([]byte, error) {
	type object Summary // without the methods
	return json.Marshal(object(s))
}
