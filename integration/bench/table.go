//go:build linux

package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the table. It ends with the ratio of ours and the ratio without the kernel path, each with its verdict.
func (r *results) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\tours\t\tours, --kernel-path=off\t\tMiredo\t\tunit\ttarget\tratio\t\twith --kernel-path=off\t\n")
	for _, line := range r.rows() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.What, line.Ours, line.Workers, line.Miredo,
			line.Unit, line.Target, line.Ours.comparison(), line.Workers.comparison())
	}
	return t.Flush()
}

// String is the median, and in another column the least and the greatest value.
func (s *summary) String() string {
	if s == nil {
		return "\t"
	}
	if len(s.Samples) == 1 {
		return figure(s.Median) + "\t"
	}
	return fmt.Sprintf("%s\t%s–%s", figure(s.Median), figure(s.Min), figure(s.Max))
}

// comparison is the ratio, and in another column the verdict.
func (s *summary) comparison() string {
	switch {
	case s == nil:
		return "\t"
	case s.Ratio == 0:
		return "\t" + string(s.Verdict)
	}
	return fmt.Sprintf("%.2f\t%s", s.Ratio, s.Verdict)
}

// figure writes a number with three digits or more.
func figure(v float64) string {
	switch {
	case v >= 100:
		return grouped(int(v + 0.5))
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3f", v)
	}
}
