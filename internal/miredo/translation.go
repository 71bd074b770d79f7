package miredo

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Translation makes a configuration of this suite from a file of Miredo, one key after the other.
type Translation struct {
	file       string
	directives []directive // that no key has taken yet
	taken      map[string]int
	at         *directive // that is taken now; nil: none
	out        strings.Builder
	warnings   []string
	faults     []error
}

// NewTranslation starts with the text of a file. Title says what the configuration is for.
func NewTranslation(file string, text []byte, title string) *Translation {
	t := &Translation{file: file, taken: make(map[string]int)}
	var remarks []remark
	t.directives, remarks = parse(text)
	t.Comment("%s Imported from %s.", title, quote(file))
	t.out.WriteByte('\n')
	for _, r := range remarks {
		t.warn(r.line, r.text)
	}
	return t
}

// Key takes the directive of a key, whose name any mix of upper and lower case may have, and has use translate its value. It reports
// whether there is one. An error of use is about the value.
func (t *Translation) Key(name string, use func(value string) error) bool {
	for i, d := range t.directives {
		if !strings.EqualFold(d.key, name) {
			continue
		}
		t.directives = append(t.directives[:i:i], t.directives[i+1:]...)
		t.taken[strings.ToLower(name)] = d.line
		t.at = &d
		if err := use(d.value); err != nil {
			t.faults = append(t.faults, fmt.Errorf("%s, line %d: %s %s: %w", t.file, d.line, name, quote(d.value), err))
		}
		t.at = nil
		return true
	}
	return false
}

// Set writes a setting, with the line that it comes from if a key is being translated.
func (t *Translation) Set(name string, value any) {
	line, err := toml.Marshal(map[string]any{name: value})
	if err != nil {
		t.faults = append(t.faults, fmt.Errorf("write %s: %w", name, err))
		return
	}
	if t.at != nil {
		t.Comment("Line %d: %s %s", t.at.line, t.at.key, quote(t.at.value))
	}
	t.out.Write(line)
	t.out.WriteByte('\n')
}

// Note writes a comment: of a key that is being translated, why it has no counterpart, and what to do instead.
func (t *Translation) Note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if t.at != nil {
		text = fmt.Sprintf("Line %d: %s %s has no counterpart. %s", t.at.line, t.at.key, quote(t.at.value), text)
	}
	t.Comment("%s", text)
	t.out.WriteByte('\n')
}

// Warn is a Note that the person who imports is also told at once, since something will be different.
func (t *Translation) Warn(format string, args ...any) {
	t.Note(format, args...)
	t.warnings = append(t.warnings, fmt.Sprintf("%s, line %d: %s %s has no counterpart. %s",
		t.file, t.at.line, t.at.key, quote(t.at.value), fmt.Sprintf(format, args...)))
}

// Fault says what is wrong with the whole file.
func (t *Translation) Fault(format string, args ...any) {
	t.faults = append(t.faults, fmt.Errorf("%s "+format, append([]any{t.file}, args...)...))
}

// Finish returns the configuration, and what the person who imports is told at once. The error says what is wrong with the file.
func (t *Translation) Finish() (text string, warnings []string, err error) {
	for _, d := range t.directives {
		first, known := t.taken[strings.ToLower(d.key)]
		switch {
		case known:
			t.warn(d.line, fmt.Sprintf("%s %s is left out: line %d has this key already, and Miredo takes the first", quote(d.key), quote(d.value), first))
		case strings.EqualFold(d.key, "include"):
			t.warn(d.line, fmt.Sprintf("Miredo includes no files; import %s by itself if it is a configuration", quote(d.value)))
		default:
			t.warn(d.line, fmt.Sprintf("%s %s is left out: this Miredo program has no such key", quote(d.key), quote(d.value)))
		}
	}
	return t.out.String(), t.warnings, errors.Join(t.faults...)
}

// warn writes a comment about a line, and tells it at once.
func (t *Translation) warn(line int, text string) {
	t.Comment("Line %d: %s.", line, text)
	t.out.WriteByte('\n')
	t.warnings = append(t.warnings, fmt.Sprintf("%s, line %d: %s", t.file, line, text))
}

// Comment writes a text in lines of moderate length.
func (t *Translation) Comment(format string, args ...any) {
	const most = 100
	line := "#"
	for _, word := range strings.Fields(fmt.Sprintf(format, args...)) {
		if len(line)+1+len(word) > most && line != "#" {
			fmt.Fprintln(&t.out, line)
			line = "#"
		}
		line += " " + word
	}
	fmt.Fprintln(&t.out, line)
}
