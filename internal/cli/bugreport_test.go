package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// unpack returns the files of a bug report by their names without the folder, which is the same for all.
func unpack(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	plain, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	content := make(map[string]string)
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return content
		}
		text, readErr := io.ReadAll(archive)
		if err := errors.Join(err, readErr); err != nil {
			t.Fatal(err)
		}
		if folder := path.Dir(header.Name); !strings.HasPrefix(folder, "teredo-test-2") || strings.Contains(folder, "/") {
			t.Errorf("%s", header.Name)
		}
		content[path.Base(header.Name)] = string(text)
	}
}

// reportTest calls a command with a further part.
type reportTest struct{ Bugreport }

func (r *reportTest) Run(ctx context.Context, k *kong.Kong) error {
	return r.WriteWith(ctx, k, Part{"more.txt", "more", func(_ context.Context, to io.Writer, flags map[string]string) error {
		fmt.Fprintln(to, "begun, with server", flags["server"])
		return errors.New("and broken off")
	}})
}

func callReport(t *testing.T, args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	commands := new(struct {
		Bugreport reportTest `cmd:""`
	})
	code = program().run(t.Context(), nil, commands, append([]string{"bugreport"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

// A bug report has what the running program tells, without secrets, and says what is in it.
func TestBugreport(t *testing.T) {
	s := startService(t, "server = \"a\"\nsecret = \"opensesame\"\npermit-ipv4 = [\"10.0.0.0/8\", \"192.168.0.0/16\"]\n# opensesame\n")
	close(s.setUp)
	if err := os.WriteFile(s.config, []byte("server = \"a\"\nsecret = \"hunter2\"\nlog-level = \"debug\"\npermit-ipv4 = [\"10.0.0.0/8\", \"192.168.0.0/16\"]\n# opensesame\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.hangup()
	for s.status().State != "running" {
	}
	file := filepath.Join(t.TempDir(), "r.tar.gz")
	code, stdout, stderr := callReport(t, "-o", file, "--control", s.socket)
	if code != 0 || !strings.Contains(stderr, "Waiting for more.txt\n") {
		t.Fatalf("exit code %d, errors %s", code, stderr)
	}
	content := unpack(t, file)
	want := []string{"addresses.txt", "config.txt", "kernel.txt", "log.txt", "more.txt", "routes.txt", "status.json", "version.txt"}
	if names := slices.Sorted(maps.Keys(content)); !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
	for name, want := range map[string]string{
		"config.txt":    "server = a\n",
		"log.txt":       "configuration read again",
		"status.json":   `"state": "running"`,
		"version.txt":   "command: teredo-test development build",
		"more.txt":      "begun, with server a\nnot complete: and broken off\n",
		"addresses.txt": "127.0.0.1/8",
		"routes.txt":    "# ip -6 route show table all\n",
		"kernel.txt":    "Linux version",
	} {
		if !strings.Contains(content[name], want) {
			t.Errorf("%s: %q\nwant %q in it", name, content[name], want)
		}
	}
	for _, want := range []string{"log-level = debug\n", "permit-ipv4 = 10.0.0.0/8,192.168.0.0/16\n", "secret = (removed: it may be a secret)\n", "config = " + s.config + "\n"} {
		if !strings.Contains(content["config.txt"], want) {
			t.Errorf("configuration %q\nwant %q in it", content["config.txt"], want)
		}
	}
	for name, text := range content {
		if !strings.Contains(stdout, "  "+name+" ") {
			t.Errorf("the list has no %s: %s", name, stdout)
		}
		if strings.Contains(text, "opensesame") || strings.Contains(text, "hunter2") {
			t.Errorf("a secret is in %s: %s", name, text)
		}
	}
	if !strings.Contains(stdout, "more (not complete, it says why)\n") || !strings.Contains(stdout, "Read it before you send it") {
		t.Errorf("output %s", stdout)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	code, _, stderr = callReport(t, "-o", file, "--control", s.socket)
	if code != 1 || stderr != "teredo-test: "+file+" is there already: name another file with -o\n" {
		t.Errorf("exit code %d, errors %s", code, stderr)
	}
	s.stop(errors.New("the test is over"))
	close(s.clear)
	if err := <-s.err; err != nil {
		t.Error(err)
	}
}

// Of a program that does not run, or in a folder that is not there.
func TestBugreportWithoutProgram(t *testing.T) {
	t.Chdir(t.TempDir())
	if code, stdout, stderr := callReport(t); code != 0 {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
	files, err := filepath.Glob("teredo-test-*.tar.gz")
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	content := unpack(t, files[0])
	for _, name := range []string{"config.txt", "log.txt", "status.json", "version.txt"} {
		if !strings.Contains(content[name], "not complete: not running") {
			t.Errorf("%s: %s", name, content[name])
		}
	}
	code, _, stderr := callReport(t, "-o", "/nonexistent/r.tar.gz")
	if code != 1 || !strings.Contains(stderr, "/nonexistent/r.tar.gz") || !strings.Contains(stderr, "with -o") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

// Those may ask for log and configuration who may ask for peers: nobody else of a program without peers.
func TestReportCircle(t *testing.T) {
	group, err := control.NewCircle("1")
	if err != nil {
		t.Fatal(err)
	}
	command, err := program().parse(new(serviceCommands), []string{"run", "--server", "a"})
	if err != nil {
		t.Fatal(err)
	}
	p := Process{command: command}
	for name, peers := range map[string]control.Question{"peers": {Circle: group}, "no peers": {}} {
		q, err := p.report(peers)
		if err != nil || q.Circle == nil || (q.Circle == group) != (peers.Circle == group) {
			t.Errorf("%s: circle %v, %v", name, q.Circle, err)
		}
	}
}

func TestSecretFlags(t *testing.T) {
	for _, test := range []struct {
		name, placeholder string
		want              bool
	}{
		{"secret", "", true}, {"web-token", "TOKEN", true}, {"key", "", true}, {"passwords", "", true},
		{"secret-file", "FILE", false}, {"keyboard", "", false}, {"server", "HOST", false}, {"on-change", "COMMAND", true},
	} {
		flag := &kong.Flag{Value: &kong.Value{Name: test.name}, PlaceHolder: test.placeholder}
		if got := holdsSecret(flag); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}
