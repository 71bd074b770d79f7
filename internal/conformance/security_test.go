package conformance

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

// securityRow is a row of a table of docs/security.md.
type securityRow struct {
	line  int
	cells []string
}

// securityRows returns the rows of the tables below a heading, without their heads.
func securityRows(t *testing.T, heading string) (rows []securityRow) {
	t.Helper()
	inside := false
	for i, line := range strings.Split(read(t, "docs/security.md"), "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			inside = line == "## "+heading
		case inside && strings.HasPrefix(line, "|---"):
			rows = rows[:len(rows)-1]
		case inside && strings.HasPrefix(line, "| "):
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for c := range cells {
				cells[c] = strings.TrimSpace(cells[c])
			}
			rows = append(rows, securityRow{i + 1, cells})
		}
	}
	if len(rows) == 0 {
		t.Fatalf("docs/security.md has no table below %q", heading)
	}
	return rows
}

// checkTests checks that the last cell of a row names tests that exist, or that the row says why there is none.
func (r securityRow) checkTests(t *testing.T, files testFiles, says string) {
	t.Helper()
	tests, err := parseCitations(r.cells[len(r.cells)-1])
	if err != nil {
		t.Errorf("docs/security.md: line %d: %v", r.line, err)
	}
	if len(tests) == 0 && !excuses(says) {
		t.Errorf("docs/security.md: line %d: no test shows it, and nothing says why", r.line)
	}
	for _, c := range tests {
		if fault := files.fault(c, ""); fault != "" {
			t.Errorf("docs/security.md: line %d: %v: %s", r.line, c, fault)
		}
	}
}

// The tests that docs/security.md names exist, and it answers each section of RFC 4380 §7 and RFC 6169.
func TestThreats(t *testing.T) {
	files := readTestFiles(t)
	for _, r := range securityRows(t, "Attacks that were carried out") {
		if len(r.cells) != 5 || slices.Contains(r.cells[:2], "") || r.cells[3] == "" {
			t.Errorf("docs/security.md: line %d: want attack, what we do, before, after and tests", r.line)
			continue
		}
		r.checkTests(t, files, "")
	}
	for heading, want := range map[string]string{
		"RFC 4380, section 7": "7.1 7.2.1 7.2.2 7.2.3 7.3.1 7.3.2 7.3.3 7.3.4 7.3.5 7.4.1 7.4.2 7.4.3",
		"RFC 6169":            "2.1 2.2 2.3 3.1 3.2 4.1 4.2 4.3 5.1 5.2 6.1",
	} {
		var sections []string
		for _, r := range securityRows(t, heading) {
			if len(r.cells) != 4 || slices.Contains(r.cells[:3], "") {
				t.Errorf("docs/security.md: line %d: want section, threat, what we do and tests", r.line)
				continue
			}
			sections = append(sections, r.cells[0])
			r.checkTests(t, files, r.cells[2])
		}
		if got := strings.Join(slices.Compact(sections), " "); got != want {
			t.Errorf("docs/security.md: %s has sections %s, want %s", heading, got, want)
		}
	}
}

// The ranges that docs/security.md calls no destination are none for the code, with and without a permit.
func TestDestinations(t *testing.T) {
	for _, r := range securityRows(t, "Where packets may go, and where not") {
		p, err := netip.ParsePrefix(r.cells[0])
		if err != nil || len(r.cells) != 3 {
			t.Errorf("docs/security.md: line %d: want range, what it is and destination: %v", r.line, err)
			continue
		}
		var strict teredo.Filter
		permitting := teredo.Filter{Permit: []netip.Prefix{p}}
		allows := func(f *teredo.Filter, a netip.Addr) bool { return f.Global(a) || f.Native(a) }
		if a := somewhereIn(p); allows(&strict, p.Addr()) || allows(&strict, a) {
			t.Errorf("docs/security.md: line %d: the code sends to %v or %v", r.line, p.Addr(), a)
		} else if want := map[string]bool{"never": false, "permitted": true}; allows(&permitting, a) != want[r.cells[2]] {
			t.Errorf("docs/security.md: line %d: %v is %s, but a permit of its range means %t", r.line, a, r.cells[2], !want[r.cells[2]])
		}
	}
}

// somewhereIn returns an address of a range whose bits behind the prefix are those of 8.8.8.8, again and again, so that an IPv4 address
// in it is a global one.
func somewhereIn(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		if host := min(max(8*(i+1)-p.Bits(), 0), 8); host > 0 {
			b[i] |= 8 & byte(1<<host-1)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
