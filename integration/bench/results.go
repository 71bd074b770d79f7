package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// quantity is one row of the table.
type quantity struct {
	key, name, unit string
	ratio           ratio
	target          float64 // of the ratio
}

// ratio says how ours compares with Miredo.
type ratio uint8

const (
	oursOverMiredo ratio = iota // at least the target
	miredoOverOurs              // at least the target
	oursAtMost                  // ours over Miredo, at most the target
	none
)

// quantities are the rows, in order.
var quantities = []quantity{
	{"tcp up", "TCP, client to native host", "Gbit/s", oursOverMiredo, 10},
	{"tcp down", "TCP, native host to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp direct", "TCP, client to client", "Gbit/s", oursOverMiredo, 10},
	{"tcp eight", "TCP, client to 8 clients", "Gbit/s", oursOverMiredo, 8},
	{"udp up 64", "UDP without loss, client to native host, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"udp up 512", "same, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"udp up 1232", "same, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 64", "UDP without loss, native host to client, 64 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 512", "same, 512 bytes", "packets/s", oursOverMiredo, 2},
	{"udp down 1232", "same, 1232 bytes", "packets/s", oursOverMiredo, 2},
	{"cpu client up", "processor time of the client, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu client down", "processor time of the client, TCP down", "s/GB", miredoOverOurs, 8},
	{"cpu relay up", "processor time of the relay, TCP up", "s/GB", miredoOverOurs, 8},
	{"cpu relay down", "processor time of the relay, TCP down", "s/GB", miredoOverOurs, 8},
	{"rtt plain", "round trip over plain IPv4, median", "µs", none, 0},
	{"rtt median", "added to the round trip, median", "µs", oursAtMost, 1},
	{"rtt p99", "added to the round trip, 99th percentile", "µs", oursAtMost, 1},
	{"server cpu", "router advertisements in a second of processor time", "", oursOverMiredo, 2},
	{"server rate", "router advertisements in a second", "", none, 0},
}

// results are the samples of each quantity.
type results struct {
	Quick   bool                                    `json:"quick"`
	Samples map[string]map[implementation][]float64 `json:"samples"`
}

func newResults(quick bool) *results {
	return &results{Quick: quick, Samples: make(map[string]map[implementation][]float64)}
}

func (r *results) add(key string, who implementation, value float64) {
	if r.Samples[key] == nil {
		r.Samples[key] = make(map[implementation][]float64)
	}
	r.Samples[key][who] = append(r.Samples[key][who], value)
}

// print writes the table.
func (r *results) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "what\tours\tMiredo\tunit\tratio\ttarget\n")
	for _, q := range quantities {
		s := r.Samples[q.key]
		if s == nil {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", q.name, spread(s[ours]), spread(s[miredo]), q.unit, q.compare(s[ours], s[miredo]))
	}
	return t.Flush()
}

// compare is the ratio of the medians and its target.
func (q quantity) compare(own, other []float64) string {
	a, b := median(own), median(other)
	switch {
	case q.ratio == none || a == 0 || b == 0:
		return "\t"
	case q.ratio == oursOverMiredo:
		return fmt.Sprintf("%.2f\t≥ %g", a/b, q.target)
	case q.ratio == miredoOverOurs:
		return fmt.Sprintf("%.2f\t≥ %g", b/a, q.target)
	default:
		return fmt.Sprintf("%.2f\t≤ %g", a/b, q.target)
	}
}

// spread is the median with the least and the greatest value.
func spread(samples []float64) string {
	if len(samples) == 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%s to %s)", figure(median(samples)), figure(slices.Min(samples)), figure(slices.Max(samples)))
}

func figure(v float64) string {
	switch {
	case v >= 1000:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func median(samples []float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(samples))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func (r *results) write(string) error { return nil }
