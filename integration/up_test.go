//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// upCommand is the command line that starts our client on a host in the background.
func (w *world) upCommand(host string, more ...string) []string {
	argv := w.clientCommand(host, more...)
	argv[1] = "up"
	w.t.Cleanup(func() {
		if out, err := w.Host(host).Run(exitTimeout, w.downCommand(host)...); err != nil {
			w.t.Errorf("%v: %s", err, out)
		}
	})
	return argv
}

func (w *world) downCommand(host string) []string {
	return []string{program("client"), "down", "--control", w.control(host)}
}

// TestUpAndDown: a client in the background, as on a host without systemd.
func TestUpAndDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	before := w.state("client1")
	w.startServer(ours)
	up := w.upCommand("client1")
	w.wantExit(w.start("client1", w.downCommand("client1")...), 0, "teredo-client was not running.")
	first := w.start("client1", up...)
	w.wantExit(first, 0, "Waiting for ", "IPv6 is up: 2001:0:c000:201:")
	addr, has := w.teredoAddr("client1")
	if !has || !strings.Contains(first.Log(), addr.String()) {
		t.Errorf("address %v", addr)
	}
	w.wantExit(w.start("client1", append(up, "--wait")...), 0, "teredo-client runs already. IPv6 is up: "+addr.String())
	w.wantExit(w.start("client1", w.downCommand("client1")...), 0, "teredo-client has stopped.")
	if after := w.state("client1"); after != before {
		t.Errorf("client1 is not as before:\n%s\nwas:\n%s", after, before)
	}
	log, err := os.ReadFile(filepath.Join(w.Folder(), "client1.log"))
	if err != nil || !strings.Contains(string(log), "qualified") || !strings.Contains(string(log), "stopping") {
		t.Errorf("%v: log\n%s", err, log)
	}
}

// TestUpFails: a client that cannot start says why. One that waits for its server goes on in the background.
func TestUpFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	secret := filepath.Join(w.Folder(), "secret")
	if err := os.WriteFile(secret, []byte("me 00112233445566778899aabbccddeeff\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := w.upCommand("client1")
	w.wantExit(w.start("client1", append(up, "--secret-file", secret)...), 1, "teredo-client has stopped: secrets file "+secret, "run 'chmod 600")
	w.wantExit(w.start("client1", append(up, "--server", "http://x")...), 64, "neither a host name")
	w.wantExit(w.start("client1", append(up, "--wait=10ms")...), 1, "it still waits for", "goes on in the background", "client1.log")
	w.startServer(ours)
	w.wantExit(w.start("client1", up...), 0, "teredo-client runs already. IPv6 is up: ")
}

// TestUpUsesItsFile: without flags the client has those of /etc/teredo/client.toml.
func TestUpUsesItsFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	flags := w.upCommand("client1")[2:]
	var config strings.Builder
	for n := 0; n < len(flags); n += 2 {
		config.WriteString(strings.TrimPrefix(flags[n], "--") + " = '" + flags[n+1] + "'\n")
	}
	file := filepath.Join(w.Folder(), "client.toml")
	if err := os.WriteFile(file, []byte(config.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	// A folder of its own for this command alone.
	script := "mount -t tmpfs none /etc && mkdir /etc/teredo && cp " + file + " /etc/teredo/client.toml && exec " + program("client") + " up"
	w.wantExit(w.start("client1", "unshare", "--mount", "sh", "-c", script), 0, "IPv6 is up: ")
}
