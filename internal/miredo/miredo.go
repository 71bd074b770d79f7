// Package miredo reads the configuration files of Miredo, miredo.conf(5) and miredo-server.conf(5), and writes what they say in the
// form of this suite's configuration files.
package miredo

import (
	"bytes"
	"fmt"
	"strings"
)

// Bounds of Miredo's own parser. It skips longer lines, and cuts longer words.
const (
	longestLine  = 1054 // bytes, without the line feed
	longestKey   = 31
	longestValue = 1023
)

// directive is a line with a key and its value.
type directive struct {
	line       int
	key, value string
}

// remark is something to say about a line.
type remark struct {
	line int
	text string
}

// parse splits a file into directives as Miredo does: each line has a key and a value, and what follows them does not count. The
// remarks are about lines that Miredo ignores, and about the rest of a line, unless it is a comment.
func parse(text []byte) (directives []directive, remarks []remark) {
	number := 0
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		number++
		ignored := func(format string, args ...any) {
			remarks = append(remarks, remark{number, fmt.Sprintf(format, args...)})
		}
		line, _, _ = bytes.Cut(line, []byte{0}) // where a string of C ends
		words := bytes.FieldsFunc(line, isSpace)
		switch {
		case len(words) == 0 || words[0][0] == '#':
			continue
		case len(line) > longestLine:
			ignored("it has more than %d bytes, so Miredo skips it; it is left out", longestLine)
			continue
		case len(words) == 1:
			ignored("%s has no value, so Miredo ignores it; it is left out", quote(string(words[0])))
			continue
		case len(words[0]) > longestKey || len(words[1]) > longestValue:
			ignored("%s is too long for Miredo; it is left out", quote(string(words[0])))
			continue
		case len(words) > 2 && words[2][0] != '#':
			ignored("%s is ignored, as Miredo ignores what follows the value", quote(string(bytes.Join(words[2:], []byte(" ")))))
		}
		directives = append(directives, directive{number, string(words[0]), string(words[1])})
	}
	return directives, remarks
}

// isSpace reports what C takes for white space.
func isSpace(r rune) bool { return strings.ContainsRune(" \t\v\f\r\n", r) }

// quote shows text of a file, whatever it contains, in printable ASCII and not too long.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most] + "..."
	}
	return fmt.Sprintf("%+q", text)
}
