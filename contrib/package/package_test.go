package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const platform = "linux/amd64"

var formats = []string{"deb", "rpm", "apk", "archlinux", "archive"}

// made is the release that the tests look at.
var made release

func TestMain(m *testing.M) {
	code := 1
	out, err := os.MkdirTemp("", "teredo-package")
	if err == nil {
		made = release{source: "../..", out: out}
		if err = made.make([]string{platform}, formats); err == nil {
			code = m.Run()
		}
		os.RemoveAll(out)
	}
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
	}
	os.Exit(code)
}

// tool skips a test without this command, but not in continuous integration.
func tool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		missing(t, err.Error())
	}
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// run runs a command and returns what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// file is the finished file that matches a pattern.
func file(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(made.out, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", pattern, found, err)
	}
	return found[0]
}

// One program stands for all.
func TestSecondBuildHasEqualBits(t *testing.T) {
	again := release{source: "../..", out: t.TempDir()}
	if err := again.prepare([]string{platform}); err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		if format == "archive" {
			continue
		}
		for _, name := range []string{"teredo-server", common} {
			if err := again.pack(name, platform, format); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(again.archive(platform), again.writeComponents([]string{platform}), again.writeSums()); err != nil {
		t.Fatal(err)
	}
	first, second := sums(t, made.out), sums(t, again.out)
	if len(first) != 4*4+2 || len(second) != 4*2+2 {
		t.Fatalf("first %q, second %q", first, second)
	}
	for _, line := range second {
		if !slices.Contains(first, line) {
			t.Errorf("not made the first time: %s", line)
		}
	}
}

func sums(t *testing.T, folder string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// A tag of git names the version of the programs and of all files, as for a release. The clone is a checkout of its own, in which the
// tag changes nothing for others.
func TestTagIsVersion(t *testing.T) {
	clone := filepath.Join(t.TempDir(), "clone")
	run(t, "git", "clone", "--quiet", "../..", clone)
	run(t, "git", "-C", clone, "tag", "v1.2.3")
	tagged := release{source: clone, out: t.TempDir()}
	if err := tagged.make([]string{platform}, formats); err != nil {
		t.Fatal(err)
	}
	for _, program := range programs {
		if out := run(t, tagged.binary(platform, program), "version"); !strings.HasPrefix(out, program+" v1.2.3, commit ") {
			t.Errorf("version prints %s", out)
		}
	}
	files, err := filepath.Glob(filepath.Join(tagged.out, "teredo-*"))
	if err != nil || len(files) != len(sums(t, made.out)) {
		t.Errorf("files %q, %v; want %d", files, err, len(sums(t, made.out)))
	}
	for _, path := range files {
		if !strings.Contains(filepath.Base(path), "1.2.3") {
			t.Errorf("the name of %s lacks the version", path)
		}
	}
}

func TestLintian(t *testing.T) {
	tool(t, "lintian")
	for _, name := range append([]string{common}, programs...) {
		run(t, "lintian", "--allow-root", "--fail-on", "error", file(t, name+"_*.deb"))
	}
}

func TestManualPages(t *testing.T) {
	tool(t, "man")
	tool(t, "mandoc")
	for _, program := range programs {
		page := filepath.Join(made.work, program+".8")
		if out := run(t, "mandoc", "-Tlint", page); out != "" {
			t.Errorf("mandoc: %s", out)
		}
		command := exec.Command("man", "--warnings", "--local-file", page)
		command.Env = append(os.Environ(), "MANWIDTH=80", "LC_ALL=C.UTF-8")
		var faults strings.Builder
		command.Stderr = &faults
		text, err := command.Output()
		if err != nil || faults.Len() > 0 {
			t.Errorf("man: %v %s", err, &faults)
		}
		// Each command of the help is on the page, with its flags.
		help := run(t, made.binary(platform, program), "--help")
		commands := regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(help, -1)
		if len(commands) < 5 {
			t.Fatalf("commands of %s: %q", program, commands)
		}
		for _, command := range commands {
			_, section, found := strings.Cut(string(text), "\n   "+command[1])
			if !found {
				t.Fatalf("%s does not have the command %s", page, command[1])
			}
			for _, flag := range regexp.MustCompile(`--[a-z0-9]+[a-z0-9-]*`).FindAllString(run(t, made.binary(platform, program), command[1], "--help"), -1) {
				if !strings.Contains(strings.ReplaceAll(string(text), "[no-]", ""), flag) {
					t.Errorf("%s: %s is missing in %.40q", page, flag, section)
				}
			}
		}
	}
}

// With every key uncommented, a sample is accepted: the program goes on, to its control socket, which cannot be made.
func TestSamplesAreAccepted(t *testing.T) {
	for _, program := range programs {
		text, err := os.ReadFile(filepath.Join(made.work, program+".toml"))
		if err != nil {
			t.Fatal(err)
		}
		keys := regexp.MustCompile(`(?m)^#([a-z])`)
		if n := len(keys.FindAll(text, -1)); n < 20 {
			t.Errorf("%s has %d keys", program, n)
		}
		config := filepath.Join(t.TempDir(), "config.toml")
		if err := os.WriteFile(config, keys.ReplaceAll(text, []byte("$1")), 0o600); err != nil {
			t.Fatal(err)
		}
		command := exec.Command(made.binary(platform, program), "run", "--config", config, "--control", "/dev/null/socket", "--permit-ipv4=192.0.2.0/24")
		out, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != 1 || !strings.Contains(string(out), "control socket") {
			t.Errorf("%s exits with %d: %s", program, code, out)
		}
	}
}
