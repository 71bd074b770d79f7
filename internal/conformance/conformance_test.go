package conformance

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTable compares docs/conformance.md with the requirements and with the tests that it names.
func TestTable(t *testing.T) {
	requirements, err := parseRequirements(read(t, "testdata/requirements.txt"))
	if err != nil {
		t.Fatalf("testdata/requirements.txt: %v", err)
	}
	rows, faults := parseTable(read(t, "docs/conformance.md"))
	faults = append(faults, check(requirements, rows, readTestFiles(t))...)
	for _, fault := range faults {
		t.Errorf("docs/conformance.md: %s", fault)
	}
}

// check says what is wrong with the table.
func check(requirements []requirement, rows []row, tests testFiles) (faults []string) {
	known, seen := make(map[string]requirement), make(map[string]bool)
	for _, r := range requirements {
		if _, again := known[r.id]; again {
			faults = append(faults, fmt.Sprintf("%s is required twice", r.id))
		}
		known[r.id] = r
	}
	for _, r := range rows {
		report := func(format string, args ...any) {
			faults = append(faults, fmt.Sprintf("line %d: %s: %s", r.line, r.id, fmt.Sprintf(format, args...)))
		}
		want, ok := known[r.id]
		switch {
		case !ok:
			report("no such requirement")
			continue
		case seen[r.id]:
			report("has a row already")
		case r.requirement != want:
			report("stale: level and section are %s, %s", want.level, want.section)
		case r.says == "":
			report("does not say what we do")
		case len(r.tests) == 0 && r.binding() && !r.excused():
			report("no test shows it, and no deviation is stated")
		}
		seen[r.id] = true
		for _, c := range r.tests {
			if fault := tests.fault(c, r.id); fault != "" {
				report("%v: %s", c, fault)
			}
		}
	}
	for _, r := range requirements {
		if !seen[r.id] {
			faults = append(faults, fmt.Sprintf("%s has no row", r.id))
		}
	}
	return faults
}

// Whatever can be wrong with the table is found.
func TestFaults(t *testing.T) {
	requirements, err := parseRequirements("# two of them\n\nC-AB-01 | MUST | 4380 §1\nC-AB-02 | MAY | 4380 §2\nX-AB-03 | SHOULD | 6081 §3\n")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parseTestFile("package p\n// C-AB-01..02\nfunc TestA(t *testing.T) { t.Run(\"first case\", nil) }\nfunc FuzzA(f *testing.F) {}\n")
	if err != nil {
		t.Fatal(err)
	}
	other, err := parseTestFile("package p\nfunc TestB(t *testing.T) {}\nfunc (x) TestC(t *testing.T) {}\n")
	if err != nil {
		t.Fatal(err)
	}
	tests := testFiles{"peer": {file, other}}
	const (
		first  = "| C-AB-01 | MUST | 4380 §1 | We do it. | `peer.TestA/first`, `peer.FuzzA` |\n"
		second = "| C-AB-02 | MAY | 4380 §2 | We do not. | |\n"
		third  = "| X-AB-03 | SHOULD | 6081 §3 | **Not applicable.** For a reason. | |\n"
	)
	for name, c := range map[string]struct {
		table string
		want  []string
	}{
		"right":               {first + second + third, nil},
		"missing row":         {first + third, []string{"C-AB-02 has no row"}},
		"unknown":             {first + second + third + "| C-AB-09 | MAY | 4380 §2 | We do it. | |\n", []string{"line 4: C-AB-09: no such requirement"}},
		"twice":               {first + second + second + third, []string{"line 3: C-AB-02: has a row already"}},
		"stale level":         {"| C-AB-01 | may | 4380 §1 | We do it. | `peer.TestA` |\n" + second + third, []string{"line 1: C-AB-01: stale: level and section are MUST, 4380 §1"}},
		"stale section":       {"| C-AB-01 | MUST | 4380 §9 | We do it. | `peer.TestA` |\n" + second + third, []string{"line 1: C-AB-01: stale: level and section are MUST, 4380 §1"}},
		"says nothing":        {first + "| C-AB-02 | MAY | 4380 §2 | | `peer.TestA` |\n" + third, []string{"line 2: C-AB-02: does not say what we do"}},
		"no test":             {"| C-AB-01 | MUST | 4380 §1 | We do it. | |\n" + second + third, []string{"line 1: C-AB-01: no test shows it, and no deviation is stated"}},
		"deviation":           {"| C-AB-01 | MUST | 4380 §1 | **Deviation.** For a reason. | |\n" + second + third, nil},
		"deviation, why":      {"| C-AB-01 | MUST | 4380 §1 | **Deviation.** | |\n" + second + third, []string{"line 1: C-AB-01: no test shows it, and no deviation is stated"}},
		"not applicable":      {"| C-AB-01 | MUST | 4380 §1 | **Not applicable.** For a reason. | |\n" + second + third, nil},
		"another mark":        {"| C-AB-01 | MUST | 4380 §1 | **Later.** For a reason. | |\n" + second + third, []string{"line 1: C-AB-01: no test shows it, and no deviation is stated"}},
		"no such test":        {"| C-AB-01 | MUST | 4380 §1 | We do it. | `peer.TestZ` |\n" + second + third, []string{"line 1: C-AB-01: peer.TestZ: there is no such test"}},
		"a method":            {"| C-AB-01 | MUST | 4380 §1 | We do it. | `peer.TestC` |\n" + second + third, []string{"line 1: C-AB-01: peer.TestC: there is no such test"}},
		"no such package":     {"| C-AB-01 | MUST | 4380 §1 | We do it. | `relay.TestA` |\n" + second + third, []string{"line 1: C-AB-01: relay.TestA: there is no such test"}},
		"no such subtest":     {"| C-AB-01 | MUST | 4380 §1 | We do it. | `peer.TestA/last` |\n" + second + third, []string{"line 1: C-AB-01: peer.TestA/last: there is no such subtest"}},
		"test of another":     {"| C-AB-01 | MUST | 4380 §1 | We do it. | `peer.TestB` |\n" + second + third, []string{"line 1: C-AB-01: peer.TestB: its file does not name C-AB-01"}},
		"too few cells":       {first + second + third + "| C-AB-01 | MUST |\n", []string{"line 4: 2 cells, want 5"}},
		"test in plain words": {first + second + third + "| C-AB-01 | MUST | 4380 §1 | We do it. | peer.TestA |\n", []string{"line 4: C-AB-01: tests must be in backquotes, with a comma between them: peer.TestA"}},
		"no test at all":      {first + second + third + "| C-AB-01 | MUST | 4380 §1 | We do it. | `peer` |\n", []string{"line 4: C-AB-01: not of the form package.Test or package.Test/subtest: peer"}},
	} {
		t.Run(name, func(t *testing.T) {
			rows, faults := parseTable(c.table)
			if diff := cmp.Diff(c.want, append(faults, check(requirements, rows, tests)...)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, bad := range []string{"C-AB-01 | MUST", "whatever | MUST | 4380 §1"} {
		if _, err := parseRequirements(bad); err == nil {
			t.Errorf("%q passes for a requirement", bad)
		}
	}
}

// Identifiers that code and documentation name exist: a slip of the pen would make a citation say nothing.
func TestIdentifiersExist(t *testing.T) {
	requirements, err := parseRequirements(read(t, "testdata/requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range find(t, ".go", ".md") {
		if name == "internal/conformance/conformance_test.go" { // made-up ones
			continue
		}
		named := identifiers(read(t, name))
		for _, r := range requirements {
			delete(named, r.id)
		}
		for _, id := range slices.Sorted(maps.Keys(named)) {
			t.Errorf("%s names %s, which is no requirement", name, id)
		}
	}
}
