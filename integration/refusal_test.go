//go:build linux

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestRefusals starts our programs in ways that cannot work. Each must end with the right code and say what to do.
func TestRefusals(t *testing.T) {
	const (
		failed = 1
		wrong  = 64
	)
	// "PERMIT" stands for the lab's --permit-ipv4, and "FILE" and all behind it for a configuration file with that text; a
	// --control of its own is added.
	for _, tt := range []struct {
		host    string // also says which program
		command string
		code    int
		texts   []string
	}{
		{"client1", "run PERMIT", wrong, []string{"--server"}},
		{"client1", "run --server 192.0.2.1 --no-such-flag", wrong, []string{"--no-such-flag"}},
		{"client1", "no-such-command", wrong, []string{"no-such-command"}},
		{"client1", "run --server 192.0.2.1", wrong, []string{"192.0.2.1", "--permit-ipv4"}},
		{"client1", "run --server 192.168.7.7 PERMIT", wrong, []string{"192.168.7.7", "--permit-ipv4"}},
		{"client1", "run --server 192.0.2.300 PERMIT", wrong, []string{"192.0.2.300", "write one such as"}},
		{"client1", "run --server http://192.0.2.1/ PERMIT", wrong, []string{"name the host alone, 192.0.2.1"}},
		{"client1", "run --server 192.0.2.1:3544 PERMIT", wrong, []string{"name the host alone, 192.0.2.1"}},
		{"client1", "run --server= PERMIT", wrong, []string{"no server is given"}},
		{"client1", "run FILE server=\"\"", wrong, []string{"no server is given"}},
		{"client1", "run FILE server=[]", wrong, []string{"no server is given"}},
		{"client1", "run FILE server=[\"a\",\"\"]", wrong, []string{`server ""`}},
		{"client1", "run FILE server=\"192.0.2.1:3544\"", wrong, []string{"name the host alone, 192.0.2.1"}},
		{"client1", "run FILE server=", wrong, []string{"client1.toml, line 1"}},
		{"client1", "run --config /nonexistent/client.toml", wrong, []string{"/nonexistent/client.toml"}},
		{"client1", "run --server 192.0.2.1 --secret-file /nonexistent/secret PERMIT", wrong, []string{"/nonexistent/secret"}},
		{"client1", "run --server 192.0.2.1 --refresh-interval 1s PERMIT", wrong, []string{"from 5s to 5m0s"}},
		{"client1", "run --server 192.0.2.1 --refresh-interval 1h PERMIT", wrong, []string{"from 5s to 5m0s"}},
		{"client1", "run FILE server=\"a\"\nrefresh-interval=\"1h\"", wrong, []string{"client1.toml", "from 5s to 5m0s"}},
		{"client1", "probe 192.0.2.1:3544", wrong, []string{"name the host alone, 192.0.2.1"}},
		{"client1", "probe 192.0.2.300", wrong, []string{"192.0.2.300"}},
		{"client1", "", wrong, []string{"run"}},
		{"client1", "run --server 192.0.2.1 --port 70000 PERMIT", wrong, []string{"70000"}},
		{"client1", "run --server 192.0.2.1 --permit-ipv4 192.0.2.0", wrong, []string{"192.0.2.0"}},
		{"client1", "run --server 192.0.2.1 --tun a-name-that-is-too-long PERMIT", wrong, []string{"a-name-that-is-too-long"}},
		{"client1", "run --server 192.0.2.1 --tun uplink PERMIT", failed, []string{"uplink"}},
		{"client1", "run --server 192.0.2.1 --port 4000 PERMIT", failed, []string{"4000", "in use"}},
		{"client1", "unprivileged run --server 192.0.2.1 PERMIT", failed, []string{"CAP_NET_ADMIN"}},
		{"client1", "status", failed, []string{"running"}},
		{"client1", "peers", failed, []string{"running"}},

		{"server", "run PERMIT", wrong, []string{"--bind"}},
		{"server", "run --bind 192.0.2.1", wrong, []string{"192.0.2.1", "--permit-ipv4"}},
		{"server", "run --bind 192.168.7.7", wrong, []string{"192.168.7.7"}},
		{"server", "run --bind example.com PERMIT", wrong, []string{"example.com"}},
		{"server", "run --bind 192.0.2.1 --bind2 192.0.2.1 PERMIT", wrong, []string{"--bind2"}},
		{"server", "run --bind 192.0.2.77 PERMIT", failed, []string{"192.0.2.77"}},
		{"server", "run --bind 192.0.2.2 PERMIT", failed, []string{"3544", "in use"}},
		{"server", "status", failed, []string{"running"}},

		{"relay", "run --no-such-flag", wrong, []string{"--no-such-flag"}},
		{"relay", "run --bind 198.51.100.1 --port 3544 PERMIT", wrong, []string{"3544"}},
		{"relay", "run --bind 198.51.100.77 PERMIT", failed, []string{"198.51.100.77"}},
		{"relay", "run --bind 198.51.100.1 --port 4000 PERMIT", failed, []string{"4000", "in use"}},
		{"relay", "unprivileged run --bind 198.51.100.1 PERMIT", failed, []string{"CAP_NET_ADMIN"}},
		{"relay", "peers", failed, []string{"running"}},
	} {
		t.Run(tt.host+" "+tt.command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			// These ports are in use.
			w.socket("client1", ":4000")
			w.socket("relay", ":4000")
			w.socket("server", lab.ServerAddr2+":3544")

			role := strings.TrimSuffix(tt.host, "1")
			command, unprivileged := strings.CutPrefix(tt.command, "unprivileged ")
			command = strings.Replace(command, "PERMIT", "--permit-ipv4 "+lab.PublicRanges, 1)
			command, text, hasFile := strings.Cut(command, "FILE ")
			argv := append([]string{program(role)}, strings.Fields(command)...)
			if hasFile {
				argv = append(argv, "--config", w.config(tt.host, text))
			}
			if command != "" && command != "no-such-command" {
				argv = append(argv, "--control", w.control(tt.host))
			}
			if unprivileged {
				argv = append([]string{"setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"}, argv...)
			}
			w.wantExit(w.start(tt.host, argv...), tt.code, tt.texts...)
		})
	}
}

// config writes the configuration file of the program on a host.
func (w *world) config(host, text string) string {
	w.t.Helper()
	file := filepath.Join(w.Folder(), host+".toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}
