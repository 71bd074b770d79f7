package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

const openWrt = "../../contrib/openwrt/teredo-client/files/"

// commandOf runs the init script for procd with settings and returns the command line that it gives to procd; nil: it starts nothing.
func commandOf(t *testing.T, settings string) (command []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "teredo-client")
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-eu", "testdata/procd.sh")
	shell.Env = append(os.Environ(), "CONFIG="+file, "SCRIPT="+openWrt+"teredo-client.init")
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wanted := false
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "set "), strings.HasPrefix(line, "append "), line == "end", strings.HasPrefix(line, "instance "):
			wanted = strings.HasSuffix(line, " command")
		case wanted:
			command = append(command, line)
		}
	}
	return command
}

// OpenWrt's init script makes a command line of the settings that the run command accepts: of the sample as it is installed, and
// of one in which every setting is used.
func TestOpenWrt(t *testing.T) {
	text, err := os.ReadFile(openWrt + "teredo-client.config")
	if err != nil {
		t.Fatal(err)
	}
	sample := string(text)
	if command := commandOf(t, sample); command != nil {
		t.Errorf("it starts %q, though it is not enabled", command)
	}
	enabled := strings.Replace(sample, "option enabled '0'", "option enabled '1'", 1)
	all := strings.NewReplacer("\t#option ", "\toption ", "\t#list ", "\tlist ").Replace(enabled)
	for settings, want := range map[string]string{
		enabled: "/usr/bin/teredo-client run --server teredo.example.net --tun teredo",
		all: "/usr/bin/teredo-client run --config /etc/teredo/client.toml --server teredo.example.net --server2 192.0.2.2 --bind 192.168.1.2 " +
			"--port 40000 --tun teredo --secret-file /etc/teredo/secret --permit-ipv4 10.0.0.0/8 --no-local-discovery --no-port-mapping --always --log-level info",
	} {
		command := commandOf(t, settings)
		if diff := cmp.Diff(strings.Fields(want), command); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
			continue
		}
		var commands struct {
			Run run `cmd:""`
		}
		k, err := kong.New(&commands, kong.Vars{"control": "/run/client.sock"})
		if err != nil {
			t.Fatal(err)
		}
		args := strings.Split(strings.Replace(strings.Join(command[1:], "\n"), "--config\n/etc/teredo/client.toml\n", "", 1), "\n")
		if _, err := k.Parse(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// The script is one for POSIX shells, apart from what it says.
func TestOpenWrtScript(t *testing.T) {
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Skip("shellcheck is not installed")
	}
	if out, err := exec.Command("shellcheck", "-s", "sh", openWrt+"teredo-client.init").CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
