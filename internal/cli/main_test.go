package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/teredo-suite/teredo/internal/control"
)

// TestMain lets the test binary be the program of TestSignals.
func TestMain(m *testing.M) {
	if os.Getenv("TEREDO_TEST_PROGRAM") != "" {
		program().Main(new(commands))
	}
	goleak.VerifyTestMain(m)
}

func program() Program {
	return Program{Name: "teredo-test", Description: "Does nothing.", Control: "/nonexistent/test.sock"}
}

type commands struct {
	Run     testRun            `cmd:"" help:"Run."`
	Status  Status[testStatus] `cmd:"" help:"Show."`
	Peers   Peers[testPeer]    `cmd:"" help:"Show peers."`
	Version Version            `cmd:"" help:"Show the version."`
}

type testStatus struct {
	State string `json:"state"`
	Peers int    `json:"peers"`
}

type testPeer struct {
	Address string `json:"address"`
	Sent    uint64 `json:"sent_packets"`
}

type testRun struct {
	Server string `required:"" placeholder:"HOST" help:"Server."`
	Bind   IPv4   `placeholder:"ADDRESS" help:"Address."`
	Port   uint16 `help:"Port."`
	Quick  bool   `help:"Switch."`
	End    string `hidden:"" help:"How the run ends."`
	RunFlags
}

func (testRun) Help() string { return "Examples:\n\n    ${name} run --server teredo.example" }

func (r *testRun) Run(ctx context.Context, k *kong.Kong) error {
	switch r.End {
	case "failed":
		return errors.New("the cable is out")
	case "misconfigured":
		return Usage(fmt.Errorf("start: %w", errors.New("that will never work")))
	case "crashed":
		panic("a mistake in the program")
	case "cancelled":
		return fmt.Errorf("run: %w", context.Canceled)
	case "signal", "hang":
		Ready("Waiting")
		<-ctx.Done()
		if r.End == "hang" {
			select {}
		}
		return ctx.Err()
	}
	fmt.Fprintf(k.Stdout, "%s %v %d %v %v %s\n", r.Server, r.Bind, r.Port, r.Quick, r.PermitIPv4, r.Control)
	return nil
}

// call runs the test program and returns its exit code and what it wrote.
func call(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = program().run(ctx, nil, new(commands), args, &out, &errs)
	return code, out.String(), errs.String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun(t *testing.T) {
	config := writeFile(t, `
server = "from.file"
port = 3545
quick = true
bind = "192.0.2.9"
permit-ipv4 = ["10.0.0.0/8", "192.168.0.0/16"]
control = "/tmp/file.sock"
`)
	tests := map[string]struct {
		args string
		want string
	}{
		"defaults":    {"run --server a", "a invalid IP 0 false [] /nonexistent/test.sock"},
		"flags":       {"run --server a --bind 192.0.2.1 --port 7 --quick --control /x --log-level debug", "a 192.0.2.1 7 true [] /x"},
		"ranges":      {"run --server a --permit-ipv4 10.0.0.0/8,192.168.0.0/16 --permit-ipv4 192.0.2.0/24", "a invalid IP 0 false [10.0.0.0/8 192.168.0.0/16 192.0.2.0/24] /nonexistent/test.sock"},
		"no range":    {"run --server a --permit-ipv4=", "a invalid IP 0 false [] /nonexistent/test.sock"},
		"file":        {"run --config " + config, "from.file 192.0.2.9 3545 true [10.0.0.0/8 192.168.0.0/16] /tmp/file.sock"},
		"flags first": {"run --server a --permit-ipv4 192.0.2.0/24 --config " + config, "a 192.0.2.9 3545 true [192.0.2.0/24] /tmp/file.sock"},
		"empty file":  {"run --server a --config " + writeFile(t, ""), "a invalid IP 0 false [] /nonexistent/test.sock"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t.Context(), strings.Fields(test.args)...)
			if code != 0 || stdout != test.want+"\n" || stderr != "" {
				t.Errorf("exit code %d, output %q, errors %q; want 0 and %q", code, stdout, stderr, test.want)
			}
		})
	}
}

// listRun has a flag that takes a list.
type listRun struct {
	Names []string
	RunFlags
}

func (r *listRun) Run(k *kong.Kong) error {
	_, err := fmt.Fprintf(k.Stdout, "%q", r.Names)
	return err
}

// A list in a file has the items that are written there, empty ones too.
func TestListInFile(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: `[]`, `["a", "b"]`: `["a" "b"]`, `["", "b"]`: `["" "b"]`, `["a", ""]`: `["a" ""]`, `[""]`: `[""]`, `"a"`: `["a"]`, `""`: `[]`,
	} {
		var out strings.Builder
		commands := new(struct {
			Run listRun `cmd:""`
		})
		args := []string{"run", "--config", writeFile(t, "names = "+text)}
		if code := program().run(t.Context(), nil, commands, args, &out, io.Discard); code != 0 || out.String() != want {
			t.Errorf("%s: %s, exit code %d, want %s", text, out.String(), code, want)
		}
	}
}

// TestMistakes checks the sentence that each mistake gets, and exit code 64.
func TestMistakes(t *testing.T) {
	unknown := writeFile(t, "server = \"a\"\nsevrer2 = \"b\"\n")
	wrong := writeFile(t, "server = \"a\"\nport = \"high\"\n")
	table := writeFile(t, "[server]\nname = \"a\"\n")
	nested := writeFile(t, "config = \"other.toml\"\n")
	syntax := writeFile(t, "server = \"a\"\nport = \n")
	tests := map[string]struct {
		args, message, see string
	}{
		"no command":      {"", `expected one of "run", "status", "peers", "version"`, ""},
		"unknown command": {"rnu", `unexpected argument rnu`, ""},
		"unknown flag":    {"run --sevrer a", `unknown flag --sevrer, did you mean "--server"?`, " run"},
		"missing flag":    {"run", `missing flags: --server=HOST`, " run"},
		"no address":      {"run --server a --bind here", `--bind: "here" is not an IPv4 address, such as 192.0.2.1`, " run"},
		"IPv6 address":    {"run --server a --bind ::1", `--bind: ::1 is an IPv6 address, and an IPv4 address is needed`, " run"},
		"no range":        {"run --server a --permit-ipv4 10", `--permit-ipv4: "10" is not an IPv4 range in CIDR form, such as 10.0.0.0/8`, " run"},
		"address alone":   {"run --server a --permit-ipv4 10.0.0.1", `--permit-ipv4: 10.0.0.1 has no prefix length: write 10.0.0.1/32 for this one address`, " run"},
		"host bits":       {"run --server a --permit-ipv4 10.0.0.1/8", `--permit-ipv4: 10.0.0.1/8 has bits set beyond its prefix length: write 10.0.0.0/8`, " run"},
		"IPv6 range":      {"run --server a --permit-ipv4 2001::/32", `--permit-ipv4: 2001::/32 is an IPv6 range, and IPv4 ranges are needed`, " run"},
		"log level":       {"run --server a --log-level loud", `--log-level: "loud" is not a log level: choose debug, info, warn or error`, " run"},
		"log format":      {"run --server a --log-format xml", `--log-format: "xml" is not a log format: choose text or json`, " run"},
		"port":            {"run --server a --port 65536", `--port: expected a valid 16 bit uint but got "65536"`, " run"},
		"no file":         {"run --config /nonexistent/t.toml", `cannot read the configuration file /nonexistent/t.toml: no such file or directory`, " run"},
		"unknown key": {"run --config " + unknown, "configuration file " + unknown +
			`: unknown key "sevrer2"; the keys are server, bind, port, quick, end, permit-ipv4, control, confine, pprof, web, web-token-file, web-cert, web-key, web-host, log-level, log-file, log-format`, " run"},
		"value in file":  {"run --config " + wrong, "configuration file " + wrong + `: port: expected a valid 16 bit uint but got "high"`, " run"},
		"table in file":  {"run --config " + table, "configuration file " + table + `: server: a string, a number, true or false, a date, or a list of these is needed`, " run"},
		"config in file": {"run --server a --config " + nested, "configuration file " + nested + `: unknown key "config"`, " run"},
		"syntax in file": {"run --server a --config " + syntax, "configuration file " + syntax + `, line 2, column `, " run"},
		"found later":    {"run --server a --end misconfigured", `start: that will never work`, " run"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(t.Context(), strings.Fields(test.args)...)
			message, see, _ := strings.Cut(stderr, "\n")
			if code != exitUsage || stdout != "" {
				t.Errorf("exit code %d, output %q; want 64 and none", code, stdout)
			}
			if want := "teredo-test: " + test.message; !strings.HasPrefix(message, want) {
				t.Errorf("message %q\nwant %q", message, want)
			}
			if want := "See teredo-test" + test.see + " --help.\n"; see != want {
				t.Errorf("second line %q; want %q", see, want)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx    context.Context
		args   string
		code   int
		stderr string
	}{
		"failed":                        {t.Context(), "run --server a --end failed", 1, "teredo-test: the cable is out\n"},
		"stopped by a signal":           {cancelled, "run --server a --end cancelled", 0, ""},
		"cancelled, but not by signal":  {t.Context(), "run --server a --end cancelled", 1, "teredo-test: run: context canceled\n"},
		"failed while it was stopped":   {cancelled, "run --server a --end failed", 1, "teredo-test: the cable is out\n"},
		"status of what is not running": {t.Context(), "status", 1, "teredo-test: not running: nothing answers on control socket /nonexistent/test.sock: start it first; --control PATH chooses another socket\n"},
		"peers of what is not running":  {t.Context(), "peers --control /nonexistent/y", 1, "teredo-test: not running: nothing answers on control socket /nonexistent/y: start it first; --control PATH chooses another socket\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := call(test.ctx, strings.Fields(test.args)...)
			if code != test.code || stdout != "" || stderr != test.stderr {
				t.Errorf("exit code %d, output %q, errors %q; want %d, none and %q", code, stdout, stderr, test.code, test.stderr)
			}
		})
	}
}

func TestHelpTeaches(t *testing.T) {
	for args, want := range map[string]string{
		"--help":        "Does nothing.",
		"run --help":    "    teredo-test run --server teredo.example\n",
		"status --help": "    teredo-test status --json\n",
		"peers --help":  "    teredo-test peers --json\n",
	} {
		code, stdout, stderr := call(t.Context(), strings.Fields(args)...)
		if code != 0 || !strings.Contains(stdout, want) || stderr != "" {
			t.Errorf("%s: exit code %d, errors %q, output\n%s\nwant %q in it", args, code, stderr, stdout, want)
		}
	}
}

// --version and version print the same, and nothing else is done.
func TestVersion(t *testing.T) {
	for _, args := range []string{"version", "--version", "run --version"} {
		code, stdout, stderr := call(t.Context(), strings.Fields(args)...)
		if code != 0 || stdout != versionLine("teredo-test")+"\n" || stderr != "" {
			t.Errorf("%s: exit code %d, output %q, errors %q", args, code, stdout, stderr)
		}
	}
}

func TestStatusAndPeers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- control.Serve(ctx, l, map[string]control.Question{
			"status": {Answer: func(context.Context) (any, error) {
				return map[string]any{"state": "qualified", "peers": 2, "newer": true}, nil
			}},
			"peers": {Answer: func(context.Context) (any, error) {
				return []testPeer{{"2001:0:cb00:7178:0:efff:3fff:fdfe", 7}, {"2001:db8::1", 1234}}, nil
			}},
		})
	}()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	for args, want := range map[string]string{
		"status": `
state  qualified
peers  2
`,
		"status --json": `
{
  "newer": true,
  "peers": 2,
  "state": "qualified"
}
`,
		"peers": `
ADDRESS                            SENT PACKETS
2001:0:cb00:7178:0:efff:3fff:fdfe  7
2001:db8::1                        1234
`,
	} {
		code, stdout, stderr := call(t.Context(), append(strings.Fields(args), "--control", path)...)
		if code != 0 || stderr != "" {
			t.Errorf("%s: exit code %d, errors %q", args, code, stderr)
		}
		if diff := cmp.Diff(strings.TrimPrefix(want, "\n"), stdout); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", args, diff)
		}
	}
}

func TestSecondStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type starter struct {
		Run listenRun `cmd:""`
	}
	var errs strings.Builder
	code := program().run(t.Context(), nil, new(starter), []string{"run", "--control", path}, io.Discard, &errs)
	want := "teredo-test: already running (control socket " + path + "): stop it first; --control PATH chooses another socket\n"
	if code != 1 || errs.String() != want {
		t.Errorf("exit code %d, errors %q; want 1 and %q", code, errs.String(), want)
	}
}

type listenRun struct{ RunFlags }

func (r listenRun) Run() error {
	l, err := control.Listen(r.Control)
	if err == nil {
		l.Close()
	}
	return err
}
