package complete

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

type grammar struct {
	Run struct {
		Server []string `placeholder:"HOST" help:"Server."`
		Level  string   `default:"info" placeholder:"info|debug|LEVEL" help:"Level."`
		Format string   `short:"f" default:"text" enum:"text,json" help:"Format."`
		Config string   `placeholder:"FILE" help:"File."`
		Quick  bool     `negatable:"" help:"Switch."`
		Secret string   `hidden:"" help:"Nothing for people."`
	} `cmd:"" help:"Run."`
	Ping struct {
		Address string `arg:"" placeholder:"ADDRESS" help:"Address."`
		Control string `placeholder:"PATH" help:"Socket."`
	} `cmd:"" help:"Ping."`
	Probe struct {
		Server []string `arg:"" optional:"" placeholder:"SERVER" help:"Server."`
	} `cmd:"" help:"Probe."`
	Inner struct{} `cmd:"" hidden:"" help:"Nothing for people."`
}

func TestWords(t *testing.T) {
	parser, err := kong.New(new(grammar), kong.Name("test"))
	if err != nil {
		t.Fatal(err)
	}
	// What only the host knows is told by placeholder, with what is on the line.
	sources := func(_ *kong.Value, placeholder string, flags map[string]string) []Candidate {
		return []Candidate{{Text: "some-" + placeholder + flags["config"] + flags["control"]}}
	}
	for line, want := range map[string]string{
		"":                                "run ping probe",
		"r":                               "run",
		"in":                              "",
		"run --":                          "--help --server --level --format --config --quick --no-quick",
		"run --no":                        "--no-quick",
		"run --quick --no":                "--no-quick",
		"run --level ":                    "info debug",
		"run --level=":                    "--level=info --level=debug",
		"run --level d":                   "debug",
		"run --level=d":                   "--level=debug",
		"run -f ":                         "text json",
		"run --config ":                   Files,
		"run --config=x":                  Files,
		"run --config /x --server ":       "some-HOST/x",
		"run --config=/x --server=":       "--server=some-HOST/x",
		"run --server a --level info --f": "--format",
		"run --nothing ":                  "",
		"run ":                            "",
		"ping --control /s ":              "some-ADDRESS/s",
		"ping a ":                         "",
		"ping -- --":                      "",
		"probe a b s":                     "some-SERVER",
	} {
		var got []string
		for _, c := range Words(parser.Model, strings.Split(line, " "), sources) {
			got = append(got, c.Text)
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%q (-want +got):\n%s", line, diff)
		}
	}
	if got := Words(parser.Model, nil, sources); len(got) != 3 {
		t.Errorf("no word at all: %v", got)
	}
}

func TestScript(t *testing.T) {
	for shell := range strings.SplitSeq(Shells, ",") {
		script, err := Script(shell, "teredo-test")
		if err != nil || !strings.Contains(script, "teredo-test complete -- ") || strings.Contains(script, "FUNCTION") {
			t.Errorf("%s: %v\n%s", shell, err, script)
		}
	}
	if _, err := Script("csh", "teredo-test"); err == nil {
		t.Error("there is a script for csh")
	}
}
