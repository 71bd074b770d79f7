package miredo

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
)

// translate takes the keys Port, which must not be 0, and Old, which has no counterpart.
func translate(text string) (config string, warnings []string, err error) {
	t := NewTranslation("test.conf", []byte(text), "A test.")
	t.Key("Port", func(value string) error {
		if value == "0" {
			return errors.New("it is 0")
		}
		t.Set("port", value)
		return nil
	})
	t.Key("Old", func(string) error {
		t.Note("Do without.")
		return nil
	})
	return t.Finish()
}

// Lines mean what they mean to Miredo (miredo-checkconf shows it), and what it ignores is told with the number of the line.
func TestTranslation(t *testing.T) {
	long := strings.Repeat("x", longestLine)
	for name, test := range map[string]struct {
		text, config, warning, err string
	}{
		"nothing":                {"\n  \n# comment\n#Port 1\n", "", "", ""},
		"a key":                  {"Port 1\n", "# Line 1: Port \"1\"\nport = '1'\n", "", ""},
		"any case, any space":    {"\t\v\f pORT\t 1 \r\n", "# Line 1: pORT \"1\"\nport = '1'\n", "", ""},
		"no line feed":           {"\nPort 1", "# Line 2: Port \"1\"\n", "", ""},
		"a comment behind":       {"Port 1 # one\n", "port = '1'\n", "", ""},
		"words behind":           {"Port 1 2 3\n", "port = '1'\n", `test.conf, line 1: "2 3" is ignored, as Miredo ignores what follows the value`, ""},
		"the first counts":       {"Port 1\nport 2\n", "port = '1'\n", `test.conf, line 2: "port" "2" is left out: line 1 has this key already, and Miredo takes the first`, ""},
		"no value":               {"\nPort\n", "", `test.conf, line 2: "Port" has no value, so Miredo ignores it; it is left out`, ""},
		"no counterpart":         {"Old style\n", "# Line 1: Old \"style\" has no counterpart. Do without.\n", "", ""},
		"unknown":                {"Foo bar\n", "# Line 1: \"Foo\" \"bar\" is left out", `test.conf, line 1: "Foo" "bar" is left out: this Miredo program has no such key`, ""},
		"include":                {"include /etc/x\n", "# Line 1: Miredo includes no files", `test.conf, line 1: Miredo includes no files; import "/etc/x" by itself if it is a configuration`, ""},
		"a long line":            {"Port " + long + "\nPort 1\n", "port = '1'\n", "test.conf, line 1: it has more than 1054 bytes, so Miredo skips it; it is left out", ""},
		"a long key":             {long[:32] + " 1\n", "", `is too long for Miredo; it is left out`, ""},
		"a long value":           {"Port " + long[:1024] + "\n", "", `test.conf, line 1: "Port" is too long for Miredo; it is left out`, ""},
		"bytes of all kinds":     {"\xff\x01\xe2\x80\xa8 '\"\\\x7f\n", `# Line 1: "\xff\x01\u2028" "'\"\\\x7f" is left out`, "line 1", ""},
		"what a string ends at":  {"Port 1\x00 # no\n", "port = '1'\n", "", ""},
		"a value in the comment": {"Port #1\n", "port = '#1'\n", "", ""},
		"a bad value":            {"\nPort 0\n", "", "", `test.conf, line 2: Port "0": it is 0`},
	} {
		t.Run(name, func(t *testing.T) {
			config, warnings, err := translate(test.text)
			if !strings.Contains(config, test.config) || !strings.HasPrefix(config, "# A test. Imported from \"test.conf\".\n") {
				t.Errorf("configuration:\n%s\nwithout %s", config, test.config)
			}
			if all := strings.Join(warnings, "\n"); (all == "") != (test.warning == "") || !strings.Contains(all, test.warning) {
				t.Errorf("warnings %q, want %q", all, test.warning)
			}
			if got := fmt.Sprint(err); err != nil && got != test.err || err == nil && test.err != "" {
				t.Errorf("error %q, want %q", got, test.err)
			}
		})
	}
}

// Whatever is in the file, the result is TOML in plain ASCII, and its settings are those of the keys.
func FuzzTranslation(f *testing.F) {
	for _, text := range []string{"Port 1\nOld x\n", "Port 0", "port \"'\n", "\x00\xff\r\v", "include x\nPort a b\n", "Port \u2028\n[table]\nport = 1\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config, _, _ := translate(text)
		var parsed map[string]any
		if err := toml.Unmarshal([]byte(config), &parsed); err != nil {
			if !utf8.ValidString(config) {
				return // a value that nobody has checked
			}
			t.Fatalf("%v:\n%s", err, config)
		}
		delete(parsed, "port")
		if len(parsed) > 0 {
			t.Errorf("settings out of nothing: %v", parsed)
		}
	})
}
