package cli

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"
)

// Print writes v for a person to read. A struct becomes lines of name and value, in the order of its fields; structs
// and maps in it become indented sections. A slice of structs becomes a table.
//
// Names are those of the JSON form with spaces for underscores. What is empty prints as "-", and is left out when
// its tag has omitempty or omitzero. Numbers named …_ms, …_seconds and …_seconds_ago print as durations, where a
// negative one means never.
func Print(w io.Writer, v any) error {
	var out bytes.Buffer
	if rv := reflect.Indirect(reflect.ValueOf(v)); rv.Kind() == reflect.Slice {
		table(&out, rv)
	} else {
		lines(&out, section(nil, "", rv))
	}
	_, err := out.WriteTo(w)
	return err
}

// line is one line of name and value; a section's title has no value.
type line struct{ name, value string }

func lines(w io.Writer, lines []line) {
	width := 0
	for _, l := range lines {
		width = max(width, utf8.RuneCountInString(l.name))
	}
	for _, l := range lines {
		if l.value == "" {
			fmt.Fprintln(w, l.name)
			continue
		}
		fmt.Fprintf(w, "%-*s  %s\n", width, l.name, l.value)
	}
}

// section appends the lines of a struct.
func section(to []line, indent string, v reflect.Value) []line {
	for _, f := range fields(v.Type()) {
		value := v.FieldByIndex(f.index)
		if f.omit && (value.IsZero() || value.Kind() == reflect.Map && value.Len() == 0) {
			continue
		}
		name := indent + f.name
		switch {
		case value.Kind() == reflect.Struct && !isText(value):
			to = section(append(to, line{name, ""}), indent+"  ", value)
		case value.Kind() == reflect.Map && value.Len() > 0:
			to = append(to, line{name, ""})
			for _, key := range sortedKeys(value) {
				to = append(to, line{indent + "  " + key.String(), text(value.MapIndex(key), f.unit)})
			}
		default:
			to = append(to, line{name, text(value, f.unit)})
		}
	}
	return to
}

// table writes a slice of structs, with the names of the fields above.
func table(w io.Writer, v reflect.Value) {
	if v.Len() == 0 {
		fmt.Fprintln(w, "none")
		return
	}
	columns := fields(v.Type().Elem())
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = strings.ToUpper(c.name)
	}
	fmt.Fprintln(tw, strings.Join(cells, "\t"))
	for i := range v.Len() {
		for j, c := range columns {
			cells[j] = text(v.Index(i).FieldByIndex(c.index), c.unit)
		}
		fmt.Fprintln(tw, strings.Join(cells, "\t"))
	}
	tw.Flush()
}

// field is a struct field as it is printed.
type field struct {
	index []int
	name  string
	unit  string // "", "ms", "seconds" or "seconds_ago"
	omit  bool   // when zero
}

func fields(t reflect.Type) []field {
	var fs []field
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		out := field{index: f.Index, omit: options == "omitempty" || options == "omitzero"}
		for _, unit := range []string{"ms", "seconds", "seconds_ago"} {
			if short, ok := strings.CutSuffix(name, "_"+unit); ok {
				name, out.unit = short, unit
			}
		}
		out.name = strings.ReplaceAll(name, "_", " ")
		fs = append(fs, out)
	}
	return fs
}

// text returns one value in words. It is never empty.
func text(v reflect.Value, unit string) string {
	switch {
	case unit != "":
		return age(v, unit)
	case isText(v):
		b, err := v.Interface().(encoding.TextMarshaler).MarshalText()
		if err == nil && len(b) > 0 && !v.IsZero() {
			return string(b)
		}
		return "-"
	case v.Kind() == reflect.Bool && v.Bool():
		return "yes"
	case v.Kind() == reflect.Bool:
		return "no"
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Map || v.Kind() == reflect.String) && v.Len() == 0:
		return "-"
	case v.Kind() == reflect.Slice:
		items := make([]string, v.Len())
		for i := range items {
			items[i] = text(v.Index(i), unit)
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(v.Interface())
}

func isText(v reflect.Value) bool {
	_, ok := v.Interface().(encoding.TextMarshaler)
	return ok
}

func age(v reflect.Value, unit string) string {
	number := v.Convert(reflect.TypeFor[float64]()).Float()
	if number < 0 {
		return "never"
	}
	switch unit {
	case "ms":
		return duration(time.Duration(number * float64(time.Millisecond)))
	case "seconds_ago":
		return duration(time.Duration(number*float64(time.Second))) + " ago"
	}
	return duration(time.Duration(number * float64(time.Second)))
}

// duration rounds to what a person wants to know: 34.2ms, 7.25s, 3h0m12s, 41d7h.
func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < 10*time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d < day:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
}

func sortedKeys(m reflect.Value) []reflect.Value {
	return slices.SortedFunc(slices.Values(m.MapKeys()), func(a, b reflect.Value) int {
		return strings.Compare(a.String(), b.String())
	})
}
