package cli

import (
	"encoding/json"
	"net"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// A sample with every key uncommented says what the program does without it.
func TestSampleHasDefaults(t *testing.T) {
	code, sample, stderr := call(t.Context(), "sample")
	if code != 0 || stderr != "" {
		t.Fatal(code, stderr)
	}
	sample = strings.Replace(sample, `#server = ""`, `#server = "a"`, 1)
	config := writeFile(t, regexp.MustCompile(`(?m)^#([a-z])`).ReplaceAllString(sample, "$1"))
	var with, without commands
	for to, args := range map[*commands][]string{&with: {"run", "--config", config}, &without: {"run", "--server", "a"}} {
		if _, err := program().parse(to, args, kong.Exit(nil)); err != nil {
			t.Fatal(err)
		}
	}
	with.Run.Config = ""
	if !reflect.DeepEqual(with.Run, without.Run) {
		t.Errorf("with the sample %+v\nwithout %+v", with.Run, without.Run)
	}
	if _, err := program().parse(new(commands), []string{"run", "--server", "a", "--config", writeFile(t, `log-level = ""`)}); err == nil {
		t.Error("a flag that has a default may be empty")
	}
}

func TestSampleOfUnknownCommand(t *testing.T) {
	if code, _, stderr := call(t.Context(), "sample", "walk"); code != exitUsage || !strings.Contains(stderr, "there is no command walk") {
		t.Error(code, stderr)
	}
}

func TestMan(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	if code, page, stderr := call(t.Context(), "man"); code != 0 || !strings.HasPrefix(page, ".TH TEREDO\\-TEST 8 2001-09-09 ") {
		t.Error(code, stderr, page)
	}
}

func TestCompletion(t *testing.T) {
	if code, script, _ := call(t.Context(), "completion", "fish"); code != 0 || !strings.Contains(script, "teredo-test complete") {
		t.Error(code, script)
	}
	if code, _, stderr := call(t.Context(), "completion", "csh"); code != exitUsage || !strings.Contains(stderr, "bash") {
		t.Error(code, stderr)
	}
}

func TestComplete(t *testing.T) {
	config := writeFile(t, `server = ["a.example", "b.example"]`)
	for line, want := range map[string]string{
		"run --config " + config + " --server b": "b.example\tin " + config + "\n",
		"run --config /nonexistent --server ":    "",
		"run --bind 127.0.0.":                    "127.0.0.1\n",
		"run --log-format j":                     "json\n",
		"peers --so":                             "--sort\tShow those first",
	} {
		code, got, stderr := call(t.Context(), append([]string{"complete", "--"}, strings.Split(line, " ")...)...)
		if code != 0 || stderr != "" || got != want && !(strings.HasPrefix(got, want) && want != "" && !strings.HasSuffix(want, "\n")) {
			t.Errorf("%s: %d %q %q; want %q", line, code, got, stderr, want)
		}
	}
}

func TestInterfacesAreCandidates(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("no interface", err)
	}
	got := candidates(t.Context(), nil, nil, "INTERFACE", nil)
	if len(got) != len(interfaces) || got[0].Text != interfaces[0].Name {
		t.Errorf("%v", got)
	}
}

func TestVersionJSON(t *testing.T) {
	code, out, stderr := call(t.Context(), "version", "--json")
	var got versionInfo
	if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
		t.Fatal(code, err, stderr)
	}
	if got.Program != "teredo-test" || got.Go != runtime.Version() || got.Arch != runtime.GOARCH || !slices.ContainsFunc(got.Options, func(o string) bool {
		return strings.HasPrefix(o, "CGO_ENABLED=")
	}) {
		t.Errorf("%+v", got)
	}
}
