// Package metrics makes Prometheus metrics out of what a program's status says in its JSON form.
//
// Which series there are, is written down here for each program. A series has a name, labels and the field of the status that its
// value is in; so nothing that arrives over the network can make another one.
package metrics

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

const prefix = "teredo_"

// family is a metric with all its series.
type family struct {
	name   string // without the prefix
	kind   prometheus.ValueType
	help   string
	labels []string
	series []series

	section string // of the status that has all fields; without it there is no such series; empty: there is none
}

// series is one time series.
type series struct {
	labels []string // values
	field  string   // of the status: JSON names with dots between them
	read   reader
}

// reader makes a value of a field, which is nil where the status has none. ok is false when there is no value to tell.
type reader func(field any) (value float64, ok bool)

// scaled reads a number in a unit. A field that was left out, as it is empty, is zero.
func scaled(unit float64) reader {
	return func(field any) (float64, bool) {
		n, _ := field.(float64)
		return n * unit, true
	}
}

// known reads a number of which zero or less means that it is not known.
func known(unit float64) reader {
	return func(field any) (float64, bool) {
		n, _ := field.(float64)
		return n * unit, n > 0
	}
}

// present reads a number that is not known where the status does not have it, or where it is negative.
func present(field any) (float64, bool) {
	n, ok := field.(float64)
	return n, ok && n >= 0
}

// truth reads a boolean.
func truth(field any) (float64, bool) { return number(field == true), true }

// given reads whether a word says something.
func given(field any) (float64, bool) {
	return number(field != nil && field != "" && field != "none"), true
}

// is reads whether a field has the word.
func is(word string) reader {
	return func(field any) (float64, bool) { return number(field == word), true }
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func counter(name, field, help string) family {
	return family{name: name, kind: prometheus.CounterValue, help: help, series: []series{{nil, field, scaled(1)}}}
}

func gauge(name, field, help string, read reader) family {
	return family{name: name, kind: prometheus.GaugeValue, help: help, series: []series{{nil, field, read}}}
}

// labelled has one series for each entry of an object.
func labelled(f family, label, object string, names []string, read reader) family {
	f.labels, f.series = []string{label}, nil
	for _, name := range names {
		f.series = append(f.series, series{[]string{name}, object + "." + name, read})
	}
	return f
}

// words has one series for each word that a field may have: 1 for the one that it has, and 0 for the others.
func words(f family, label string, words ...string) family {
	field := f.series[0].field
	f.labels, f.series = []string{label}, nil
	for _, word := range words {
		f.series = append(f.series, series{[]string{word}, field, is(word)})
	}
	return f
}

// within are metrics of a section of the status: of a part of the program that need not be there.
func within(section string, families ...family) (all []family) {
	for _, f := range families {
		f.section, f.name = section, section+"_"+f.name
		f.series = slices.Clone(f.series)
		for i := range f.series {
			f.series[i].field = section + "." + f.series[i].field
		}
		all = append(all, f)
	}
	return all
}

// at returns the field of a status.
func at(status map[string]any, field string) any {
	for {
		name, rest, more := strings.Cut(field, ".")
		if !more {
			return status[name]
		}
		status, _ = status[name].(map[string]any)
		field = rest
	}
}

// Collector makes the metrics of one program.
type Collector struct {
	families []family
	descs    []*prometheus.Desc
	status   func(context.Context) (any, error)
}

// NewRegistry returns what a program exposes: its own metrics, those of the Go runtime, and of the build. program is the word
// behind "teredo-", and status tells what the values are made of.
func NewRegistry(program, version string, status func(context.Context) (any, error)) (*prometheus.Registry, error) {
	families, ok := programs()[program]
	if !ok {
		return nil, fmt.Errorf("there are no metrics for %q", program)
	}
	c := &Collector{families: families, status: status}
	for _, f := range families {
		c.descs = append(c.descs, prometheus.NewDesc(prefix+f.name, f.help, f.labels, nil))
	}
	started := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "start_time_seconds", Help: "When the program started, in seconds since the Unix epoch.",
	})
	started.Set(float64(time.Now().UnixMilli()) / 1000)
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: prefix + "build_info", Help: "Always 1; the labels say which program this is, and how it was built.",
		ConstLabels: prometheus.Labels{"program": program, "version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{c, started, build, collectors.NewGoCollector()} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return registry, nil
}

// Describe names the metrics.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		to <- d
	}
}

// Collect asks for the status once and makes all values of it.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	status, err := c.fields()
	if err != nil {
		to <- prometheus.NewInvalidMetric(c.descs[0], err)
		return
	}
	for i, f := range c.families {
		if f.section != "" && status[f.section] == nil {
			continue
		}
		for _, s := range f.series {
			if value, ok := s.read(at(status, s.field)); ok {
				to <- prometheus.MustNewConstMetric(c.descs[i], f.kind, value, s.labels...)
			}
		}
	}
}

func (c *Collector) fields() (fields map[string]any, err error) {
	status, err := c.status(context.Background())
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return fields, json.Unmarshal(text, &fields)
}
