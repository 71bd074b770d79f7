package integration

import (
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
	// "PERMIT" stands for the lab's --permit-ipv4; a --control of its own is added.
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
			argv := append([]string{program(role)}, strings.Fields(command)...)
			if command != "no-such-command" {
				argv = append(argv, "--control", w.control(tt.host))
			}
			if unprivileged {
				argv = append([]string{"setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--"}, argv...)
			}
			w.wantExit(w.start(tt.host, argv...), tt.code, tt.texts...)
		})
	}
}
