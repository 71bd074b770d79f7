package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// print writes the table.
func (r *results) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\tours\t\tMiredo\t\tunit\tratio\ttarget\t\n")
	for _, line := range r.rows() {
		ratio, verdict := "", ""
		if line.Ratio != 0 {
			ratio = fmt.Sprintf("%.2f", line.Ratio)
		}
		if line.Target != "" && !line.Met {
			verdict = "missed"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", line.What, line.Ours, line.Miredo, line.Unit, ratio, line.Target, verdict)
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
