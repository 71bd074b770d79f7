//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// sample is what was measured of one quantity, with one implementation.
type sample []float64

func (s sample) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// results are the samples by quantity, and what they were measured with.
type results struct {
	plan    plan
	quick   bool
	samples map[string]map[implementation]sample
	earlier []row // of an earlier run, for what was not measured in this one

	mu sync.Mutex // of samples: some are measured at the same time
}

func newResults(p plan, quick bool) *results {
	return &results{plan: p, quick: quick, samples: make(map[string]map[implementation]sample)}
}

func (r *results) add(key string, who implementation, value float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.samples[key] == nil {
		r.samples[key] = make(map[implementation]sample)
	}
	r.samples[key][who] = append(r.samples[key][who], value)
}

// row is one line of the table.
type row struct {
	What    string   `json:"what"`
	Unit    string   `json:"unit,omitempty"`
	Target  string   `json:"target,omitempty"` // of each ratio, or, with a unit, of the medians of ours
	Ours    *summary `json:"ours,omitempty"`
	Workers *summary `json:"workers,omitempty"`
	Miredo  *summary `json:"miredo,omitempty"`
}

// summary is a sample with its middle and its spread. One of ours also says how it compares.
type summary struct {
	Median  float64 `json:"median"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Samples sample  `json:"samples"`
	Ratio   float64 `json:"ratio,omitempty"` // as the target is meant
	Verdict verdict `json:"verdict,omitempty"`
	Better  float64 `json:"better,omitempty"` // how many times as good as Miredo's
}

func (s sample) summary() *summary {
	if len(s) == 0 {
		return nil
	}
	return &summary{Median: s.median(), Min: slices.Min(s), Max: slices.Max(s), Samples: s}
}

// rows are the quantities that were measured, in the order of the table.
func (r *results) rows() (rows []row) {
	for _, q := range quantities {
		what := strings.ReplaceAll(q.name, "CROWD", grouped(r.plan.crowd))
		s := r.samples[q.key]
		if s == nil {
			if n := slices.IndexFunc(r.earlier, func(e row) bool { return e.What == what }); n >= 0 {
				rows = append(rows, r.earlier[n])
			}
			continue
		}
		rows = append(rows, row{
			What: what, Unit: q.unit, Target: q.aim(),
			Ours: r.compared(q, ours), Workers: r.compared(q, workers), Miredo: s[miredo].summary(),
		})
	}
	return rows
}

// compared is the summary of one of ours, with its ratio and verdict. It is nil when there is no sample.
func (r *results) compared(q quantity, who implementation) *summary {
	s := r.samples[q.key][who].summary()
	if s == nil {
		return nil
	}
	other := r.samples[q.key][miredo].median()
	switch measured := s.Median > 0 && other > 0; {
	case q.goal == oursOverMiredo && measured:
		s.Ratio, s.Better = s.Median/other, s.Median/other
	case (q.goal == miredoOverOurs || q.goal == value) && measured:
		s.Ratio, s.Better = other/s.Median, other/s.Median
	case q.goal == oursAtMost && measured:
		s.Ratio, s.Better = s.Median/other, other/s.Median
	case q.goal == overFew:
		s.Ratio = r.kept(q.key)
	}
	s.Verdict = q.judge(s.Ratio, s.Median)
	return s
}

// kept is the share of a rate with few peers that is left with many. Only ours is measured.
func (r *results) kept(key string) float64 {
	few := strings.TrimSuffix(key, "many") + "few"
	return r.samples[key][ours].median() / r.samples[few][ours].median()
}

// grouped writes a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// report is the form of results.json.
type report struct {
	Date    string `json:"date"`
	Machine string `json:"machine"`
	Kernel  string `json:"kernel"`
	Go      string `json:"go"`
	Quick   bool   `json:"quick"` // rough figures
	Rounds  int    `json:"rounds"`
	Rows    []row  `json:"rows"`
}

// keep keeps the rows in a folder's results.json for what is not measured this time.
func (r *results) keep(folder string) error {
	b, err := os.ReadFile(filepath.Join(folder, "results.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var old report
	if err == nil {
		err = json.Unmarshal(b, &old)
	}
	r.earlier = old.Rows
	return err
}

// write writes results.json and results.svg into a folder.
func (r *results) write(folder string) error {
	rows := r.rows()
	out, err := json.MarshalIndent(report{
		Date: time.Now().UTC().Format(time.DateOnly), Machine: machine(), Kernel: kernel(), Go: runtime.Version(),
		Quick: r.quick, Rounds: r.plan.rounds, Rows: rows,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "results.json"), append(out, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "results.svg"), chart(rows), 0o644)
}

// machine is the processor's name and how many there are.
func machine() string {
	name := runtime.GOARCH
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(info)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				name = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d cores", name, runtime.NumCPU())
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
