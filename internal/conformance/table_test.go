package conformance

import (
	"fmt"
	"regexp"
	"strings"
)

// row is a row of docs/conformance.md.
type row struct {
	requirement
	line  int    // in the file
	says  string // what we do
	tests []citation
}

// citation names a test, with its package as a folder of the module, and a text that the name of a subtest contains, if one
// is meant: "internal/udp.TestFragments", "server.TestRefusals/S-RX-03".
type citation struct {
	pkg, test, sub string
}

func (c citation) String() string {
	if c.sub == "" {
		return c.pkg + "." + c.test
	}
	return c.pkg + "." + c.test + "/" + c.sub
}

// Marks that begin what a row says when no test is to be had.
const (
	deviation     = "**Deviation.**"
	notApplicable = "**Not applicable.**"
)

// excused reports whether the row may do without a test.
func (r row) excused() bool { return excuses(r.says) }

// excuses reports whether a text says why there is no test.
func excuses(says string) bool {
	for _, mark := range []string{deviation, notApplicable} {
		if reason, ok := strings.CutPrefix(says, mark); ok {
			return len(reason) > 1
		}
	}
	return false
}

var (
	cellPattern     = regexp.MustCompile("^`([^`]+)`(?:, `[^`]+`)*$")
	citationPattern = regexp.MustCompile("`([^`]+)`")
	testPattern     = regexp.MustCompile(`^([a-z0-9/_-]+)\.((?:Test|Fuzz)\w+)(?:/(.+))?$`)
)

// parseTable reads the rows of all tables of a document, and says what is wrong with their form.
func parseTable(text string) (rows []row, faults []string) {
	for number, line := range strings.Split(text, "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ID |") {
			continue
		}
		r, err := parseRow(line)
		if err != nil {
			faults = append(faults, fmt.Sprintf("line %d: %v", number+1, err))
			continue
		}
		r.line = number + 1
		rows = append(rows, r)
	}
	return rows, faults
}

func parseRow(line string) (r row, err error) {
	cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
	if len(cells) != 5 {
		return r, fmt.Errorf("%d cells, want 5", len(cells))
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	r = row{requirement: requirement{cells[0], cells[1], cells[2]}, says: cells[3]}
	if r.tests, err = parseCitations(cells[4]); err != nil {
		err = fmt.Errorf("%s: %w", r.id, err)
	}
	return r, err
}

// parseCitations reads a cell with tests.
func parseCitations(cell string) (tests []citation, err error) {
	if cell == "" {
		return nil, nil
	}
	if !cellPattern.MatchString(cell) {
		return nil, fmt.Errorf("tests must be in backquotes, with a comma between them: %s", cell)
	}
	for _, span := range citationPattern.FindAllStringSubmatch(cell, -1) {
		parts := testPattern.FindStringSubmatch(span[1])
		if parts == nil {
			return nil, fmt.Errorf("not of the form package.Test or package.Test/subtest: %s", span[1])
		}
		tests = append(tests, citation{parts[1], parts[2], parts[3]})
	}
	return tests, nil
}
