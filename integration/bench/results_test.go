//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCompared(t *testing.T) {
	r := newResults(plan{}, false)
	for who, value := range map[implementation]float64{ours: 8, workers: 20, miredo: 2} {
		for _, key := range []string{"high", "low", "slow", "info"} {
			r.add(key, who, value)
		}
	}
	r.add("lone", ours, 8)
	r.add("size", ours, 8)
	r.add("rate few", ours, 10)
	r.add("rate many", ours, 8)
	for _, test := range []struct {
		quantity
		who     implementation
		ratio   float64
		verdict verdict
		better  float64
	}{
		{quantity{"high", "", "", oursOverMiredo, 4}, ours, 4, met, 4},
		{quantity{"high", "", "", oursOverMiredo, 4.1}, ours, 4, missed, 4},
		{quantity{"high", "", "", oursOverMiredo, 4.1}, workers, 10, met, 10},
		{quantity{"low", "", "", miredoOverOurs, 0.1}, ours, 0.25, met, 0.25},
		{quantity{"low", "", "", miredoOverOurs, 0.2}, workers, 0.1, missed, 0.1},
		{quantity{"slow", "", "", oursAtMost, 4}, ours, 4, met, 0.25},
		{quantity{"slow", "", "", oursAtMost, 4}, workers, 10, missed, 0.1},
		{quantity{"info", "", "", none, 0}, ours, 0, "", 0},
		{quantity{"lone", "", "", oursOverMiredo, 4}, ours, 0, "", 0},
		{quantity{"size", "", "", value, 8}, ours, 0, met, 0},
		{quantity{"size", "", "", value, 7}, ours, 0, missed, 0},
		{quantity{"low", "", "", value, 8}, ours, 0.25, met, 0.25},
		{quantity{"low", "", "", value, 7}, ours, 0.25, missed, 0.25},
		{quantity{"size", "", "", share, 8}, ours, 0, met, 0},
		{quantity{"size", "", "", share, 9}, ours, 0, missed, 0},
		{quantity{"rate many", "", "", overFew, 0.8}, ours, 0.8, met, 0},
		{quantity{"rate many", "", "", overFew, 0.9}, ours, 0.8, missed, 0},
		{quantity{"rate many", "", "", overFew, 0}, ours, 0.8, "", 0},
	} {
		got := r.compared(test.quantity, test.who)
		if got == nil || got.Ratio != test.ratio || got.Verdict != test.verdict || got.Better != test.better {
			t.Errorf("%s of %s, target %g: got %+v, want ratio %g, %q, %g times as good",
				test.key, test.who, test.target, got, test.ratio, test.verdict, test.better)
		}
	}
	if got := r.compared(quantity{key: "lone"}, workers); got != nil {
		t.Errorf("not measured: got %+v", got)
	}
}

// Both of ours stand beside Miredo, each with its own ratio and verdict.
func TestBothOfOursAreShown(t *testing.T) {
	r := newResults(plan{}, true)
	r.add("tcp up", ours, 8)
	r.add("tcp up", workers, 20)
	r.add("tcp up", miredo, 1)
	var table bytes.Buffer
	if err := r.print(&table); err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(table.String(), "\n")
	const want = "TCP, client to native host 8.00 20.0 1.00 Gbit/s ≥ 10 8.00 missed 20.00 met"
	if got := strings.Join(strings.Fields(line), " "); got != want {
		t.Errorf("the table has %q, want %q", got, want)
	}
	drawing := string(chart(r.rows()))
	for _, want := range []string{">TCP, client to native host<", ">8.0<", ">20.0, --kernel-path=off<"} {
		if !strings.Contains(drawing, want) {
			t.Errorf("the chart has no %q: %s", want, drawing)
		}
	}
}

// What one run did not measure stays as an earlier one has found it.
func TestKeep(t *testing.T) {
	folder := t.TempDir()
	first := newResults(plan{}, true)
	for _, key := range []string{"tcp up", "tcp down"} {
		first.add(key, ours, 8)
		first.add(key, miredo, 1)
	}
	second := newResults(plan{}, true)
	second.add("tcp down", ours, 9)
	second.add("tcp down", miredo, 1)
	for _, r := range []*results{first, second} {
		if err := errors.Join(r.keep(folder), r.write(folder)); err != nil {
			t.Fatal(err)
		}
	}
	rows := second.rows()
	if len(rows) != 2 || rows[0].Ours.Better != 8 || rows[0].What != "TCP, client to native host" || rows[1].Ours.Better != 9 {
		t.Errorf("rows %+v", rows)
	}
}

func TestChartIsXML(t *testing.T) {
	r := newResults(full, false)
	for i, q := range quantities {
		for j, who := range implementations {
			r.add(q.key, who, float64(1+7*i%11+j))
		}
	}
	for d := xml.NewDecoder(bytes.NewReader(chart(r.rows()))); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
