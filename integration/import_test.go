//go:build linux

package integration

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// importFile has a program import a configuration of Miredo, and returns the file that it has written.
func (w *world) importFile(role string, lines ...string) string {
	w.t.Helper()
	from, to := filepath.Join(w.Folder(), role+".conf"), filepath.Join(w.Folder(), role+".toml")
	if err := os.WriteFile(from, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if out, err := w.Host("native").Run(startTimeout, program(role), "import", from, "--output", to); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return to
}

// TestImport: who comes from Miredo has a file with every key. Client, relay and server work with what is imported from it, the client
// also beside a Miredo server.
func TestImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	general := []string{"InterfaceName " + tun, "SyslogFacility local3", "Prefix 2001::", "InterfaceMTU 1280"}
	relay := w.importFile("relay", append(general, "RelayType cone", "BindAddress "+lab.RelayAddr, "BindPort 3545")...)
	server := w.importFile("server", "ServerBindAddress "+lab.ServerAddr, "ServerBindAddress2 "+lab.ServerAddr2, "Prefix 2001::",
		"InterfaceMTU 1280", "SyslogFacility daemon")
	client := w.importFile("client", append(general, "RelayType client", "ServerAddress "+lab.ServerAddr, "ServerAddress2 "+lab.ServerAddr2,
		"BindAddress 192.168.1.2", "BindPort 40000")...)
	w.untilRelays(w.start("relay", program("relay"), "run", "--config", relay, "--control", w.control("relay")))
	for _, whose := range []implementation{miredo, ours} {
		var running *lab.Process
		if whose == miredo {
			running = w.startServer(miredo)
		} else {
			running = w.start("server", program("server"), "run", "--config", server, "--control", w.control("server"))
		}
		process := w.start("client1", program("client"), "run", "--config", client, "--control", w.control("client1"))
		s := w.untilStatus(startTimeout, "client1", "qualified", func(s clientStatus) bool { return s.State == "qualified" })
		if s.Local != "192.168.1.2:40000" {
			t.Errorf("local %s", s.Local)
		}
		w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
		w.stop(process)
		w.stop(running)
	}
}

// TestImportRefuses: a file is not replaced unless that is asked for, nor written when the import fails.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	to := w.importFile("client", "ServerAddress teredo.example.net")
	from := strings.TrimSuffix(to, ".toml") + ".conf"
	w.wantExit(w.start("client1", program("client"), "import", from, "--output", to), 1, "exists already: name another file with --output, or replace it with --force")
	w.wantExit(w.start("client1", program("client"), "import", from, "--output", to, "--force"), 0)
	w.wantExit(w.start("client1", program("client"), "import", from), 0, "server = 'teredo.example.net'")
	w.wantExit(w.start("client1", program("client"), "import", from, "--force"), 64, "--force is for --output")
	w.wantExit(w.start("client1", program("client"), "import", "/nonexistent"), 64, "cannot read /nonexistent: no such file")
	w.wantExit(w.start("client1", program("client"), "import", "/dev/zero"), 64, "so it is no configuration of Miredo")
	w.wantExit(w.start("relay", program("relay"), "import", from, "--output", to+"2"), 64, "use 'teredo-client import'")
	if _, err := os.Stat(to + "2"); !os.IsNotExist(err) {
		t.Error(err)
	}
	both := filepath.Join(w.Folder(), "both.conf")
	if err := os.WriteFile(both, []byte("ServerAddress 192.0.2.1\nServerAddress2 192.0.2.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.wantExit(w.start("client1", program("client"), "import", both), 64, "these settings do not go together: ")
}
