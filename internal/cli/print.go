package cli

import (
	"bytes"
	"encoding"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Print writes v for a person to read. A struct becomes lines of name and value, in the order of its fields; structs
// and maps in it become indented sections. A slice of structs becomes a table.
//
// Names are those of the JSON form with spaces for underscores. What is empty prints as "-", and is left out when
// its tag has omitempty or omitzero. Numbers named …_ms, …_seconds and …_seconds_ago print as durations, where a
// negative one means never.
func Print(w io.Writer, v any) error { return newPrinter(w).print(w, v) }

// printer writes for a person to read, see Print.
type printer struct {
	colours bool
	before  reflect.Value // what is printed as it was before; not valid: nothing is known
	passed  time.Duration // since then
	beside  reflect.Value // a slice of structs whose fields are columns behind the first one of a table; not valid: none
}

// newPrinter returns a printer that uses colours where w takes them.
func newPrinter(w io.Writer) printer {
	_, terminal := terminalRows(w)
	return printer{colours: terminal && mayColour()}
}

func (p printer) print(w io.Writer, v any) error {
	var out bytes.Buffer
	if rv := reflect.Indirect(reflect.ValueOf(v)); rv.Kind() == reflect.Slice {
		p.table(&out, rv)
	} else {
		p.lines(&out, p.section(nil, "", rv, reflect.Indirect(p.before)))
	}
	_, err := out.WriteTo(w)
	return err
}

// line is one line of name and value; a section's title has no value.
type line struct{ name, value string }

func (p printer) lines(w io.Writer, lines []line) {
	width := 0
	for _, l := range lines {
		width = max(width, utf8.RuneCountInString(l.name))
	}
	for _, l := range lines {
		if l.value == "" {
			fmt.Fprintln(w, l.name)
			continue
		}
		fmt.Fprintf(w, "%-*s  %s\n", width, l.name, p.paint(strings.TrimSpace(l.name), l.value))
	}
}

// section appends the lines of a struct, which was before as said.
func (p printer) section(to []line, indent string, v, before reflect.Value) []line {
	for _, f := range fields(v.Type()) {
		value, was := v.FieldByIndex(f.index), f.of(before)
		if f.omit && (value.IsZero() || value.Kind() == reflect.Map && value.Len() == 0) {
			continue
		}
		name := indent + f.name
		switch {
		case value.Kind() == reflect.Struct && !isText(value):
			to = p.section(append(to, line{name, ""}), indent+"  ", value, was)
		case value.Kind() == reflect.Map && value.Len() > 0:
			to = append(to, line{name, ""})
			for _, key := range sortedKeys(value) {
				now, was := value.MapIndex(key), was
				if was.IsValid() {
					if was = was.MapIndex(key); !was.IsValid() {
						was = reflect.Zero(now.Type()) // a reason is listed from its first drop on
					}
				}
				to = append(to, line{indent + "  " + key.String(), text(now, f.unit) + p.rate(f, now, was)})
			}
		default:
			to = append(to, line{name, text(value, f.unit) + p.rate(f, value, was)})
		}
	}
	return to
}

// table writes a slice of structs, with the names of the fields above.
func (p printer) table(w io.Writer, v reflect.Value) {
	if v.Len() == 0 {
		fmt.Fprintln(w, "none")
		return
	}
	columns := fields(v.Type().Elem())
	var beside []field
	if p.beside.IsValid() {
		beside = fields(p.beside.Type().Elem())
	}
	was := p.rowsBefore(columns[0])
	rows := make([][]string, 1, 1+v.Len())
	names := slices.Insert(slices.Clone(columns), 1, beside...)
	for _, c := range names {
		rows[0] = append(rows[0], strings.ToUpper(c.name))
	}
	for i := range v.Len() {
		var row []string
		before := was[text(v.Index(i).FieldByIndex(columns[0].index), columns[0].unit)]
		for n, c := range columns {
			value := c.of(v.Index(i))
			row = append(row, text(value, c.unit)+p.rate(c, value, c.of(before)))
			if n == 0 {
				for _, b := range beside {
					row = append(row, text(b.of(p.beside.Index(i)), b.unit))
				}
			}
		}
		rows = append(rows, row)
	}
	p.align(w, names, rows)
}

// rowsBefore are the rows that a table had before, by the text of their first column.
func (p printer) rowsBefore(first field) map[string]reflect.Value {
	rows := make(map[string]reflect.Value)
	if p.before.IsValid() {
		for i := range p.before.Len() {
			row := p.before.Index(i)
			rows[text(first.of(row), first.unit)] = row
		}
	}
	return rows
}

// align writes rows of cells, the first of which has the names of the columns.
func (p printer) align(w io.Writer, columns []field, rows [][]string) {
	widths := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row[:len(row)-1] {
			fmt.Fprint(w, p.paint(columns[i].name, cell), strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		fmt.Fprintln(w, p.paint(columns[len(row)-1].name, row[len(row)-1]))
	}
}

// paint colours a value that says how things are.
func (p printer) paint(name, value string) string {
	const green, yellow, red, plain = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[0m"
	if !p.colours || value == "-" {
		return value
	}
	switch {
	case name == "last error":
		return red + value + plain
	case name != "state":
		return value
	}
	switch value {
	case "qualified", "running", "trusted":
		return green + value + plain
	case "initial", "starting", "stopping", "searching":
		return yellow + value + plain
	case "failed":
		return red + value + plain
	}
	return value
}

// rate says by how much a count has grown in a second, in parentheses; empty when it has not, or is none. A program that has been
// started anew counts from zero again.
func (p printer) rate(f field, now, before reflect.Value) string {
	if p.passed <= 0 || !before.IsValid() || now.Kind() != reflect.Uint64 || f.unit != "" || now.Uint() <= before.Uint() {
		return ""
	}
	perSecond := float64(now.Uint()-before.Uint()) / p.passed.Seconds()
	if strings.HasSuffix(f.name, "bytes") {
		return " (" + quantity(perSecond, " B", " kB", " MB", " GB") + "/s)"
	}
	return " (" + quantity(perSecond, "") + "/s)"
}

// quantity writes a number with the unit in which it is short. Each unit is a thousand of the one before.
func quantity(n float64, units ...string) string {
	for len(units) > 1 && n >= 999.5 {
		n, units = n/1000, units[1:]
	}
	if n < 9.95 {
		return strconv.FormatFloat(n, 'f', 1, 64) + units[0]
	}
	return strconv.FormatFloat(n, 'f', 0, 64) + units[0]
}

// field is a struct field as it is printed.
type field struct {
	index []int
	name  string
	unit  string // "", "ms", "seconds" or "seconds_ago"
	omit  bool   // when zero
}

// of is the field of a struct, not valid if there is no struct.
func (f field) of(v reflect.Value) reflect.Value {
	if !v.IsValid() {
		return v
	}
	return v.FieldByIndex(f.index)
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
