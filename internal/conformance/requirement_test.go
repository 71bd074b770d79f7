package conformance

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// requirement is a line of testdata/requirements.txt, which says what the levels mean.
type requirement struct {
	id, level, section string
}

// binding reports whether a test must show that the requirement is fulfilled: all levels demand it but those that leave the
// choice to us.
func (r requirement) binding() bool {
	switch r.level {
	case "MAY", "may", "info", "choice":
		return false
	}
	return true
}

// parseRequirements reads lines of the form "id | level | section". Those that are empty or begin with # say nothing.
func parseRequirements(text string) (list []requirement, err error) {
	for number, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " | ")
		if len(fields) != 3 || idPattern.FindString(fields[0]) != fields[0] {
			return nil, fmt.Errorf("line %d is not of the form id | level | section: %s", number+1, line)
		}
		list = append(list, requirement{fields[0], fields[1], fields[2]})
	}
	return list, nil
}

// idPattern finds an identifier, and the end of a range that begins with it: C-DCT-01..04.
var idPattern = regexp.MustCompile(`\b(?:(?:W|ST|C|S|R|H|SUN|SEC|ECN|K|A|X)(?:-[A-Z0-9]+)*-\d\d\b(?:\.\.(\d\d)\b)?|SEC-LOOP\b)`)

// identifiers returns the identifiers of requirements that a text names, with all those in ranges.
func identifiers(text string) map[string]bool {
	ids := make(map[string]bool)
	for _, match := range idPattern.FindAllStringSubmatch(text, -1) {
		id, _, isRange := strings.Cut(match[0], "..")
		ids[id] = true
		if !isRange {
			continue
		}
		stem := id[:len(id)-2]
		first, _ := strconv.Atoi(id[len(id)-2:]) // two digits by the pattern
		last, _ := strconv.Atoi(match[1])
		for n := first; n <= last; n++ {
			ids[fmt.Sprintf("%s%02d", stem, n)] = true
		}
	}
	return ids
}
