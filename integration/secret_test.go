//go:build linux

package integration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// TestSecret lets a client qualify with a server that serves only those who share a secret with it. A wrong one is refused,
// and so is one that has expired, with a status that says why; SIGHUP has either file read again (C-SEC-03, C-SEC-04).
func TestSecret(t *testing.T) {
	t.Parallel()
	const (
		right   = "laptop hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30\n"
		wrong   = "laptop hex:00112233445566778899aabbccddeeff\n"
		expired = "laptop hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30 expires=2020-01-01\n"
	)
	qualified := func(s clientStatus) bool { return s.State == "qualified" }
	w := newWorld(t, lab.PortRestricted)
	w.record()
	clientFile, serverFile := w.secret("client", wrong), w.secret("server", right)
	server := w.start("server", w.serverCommand("--secret-file", serverFile)...)
	w.until(server, startTimeout, "the server to listen", func() error { return w.listens("server", teredo.Port) })
	client := w.start("client1", w.clientCommand("client1", "--secret-file", clientFile)...)

	w.wantRefused("the same secret")

	w.secret("client", right)
	w.hangup(client)
	w.untilStatus(startTimeout, "client1", "qualified with the right secret", qualified)

	w.secret("server", expired)
	w.hangup(server)
	w.hangup(client)
	w.wantRefused("key")

	w.secret("server", right)
	w.hangup(server)
	w.hangup(client)
	s := w.untilStatus(startTimeout, "client1", "qualified with the renewed secret", qualified)
	if addr, _ := w.teredoAddr("client1"); addr.String() != s.Address || s.LastError != "" {
		t.Errorf("address %v on the interface, %q in the status, last_error %q", addr, s.Address, s.LastError)
	}
}

// secret writes the file with the secrets of a role.
func (w *world) secret(role, text string) string {
	w.t.Helper()
	file := filepath.Join(w.Folder(), role+".secret")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return file
}

// hangup tells a program to read its secrets again, and waits until it has.
func (w *world) hangup(p *lab.Process) {
	w.t.Helper()
	loads := func() int { return strings.Count(p.Log(), ".secret") } // the log names the file each time
	before := loads()
	if err := p.Signal(unix.SIGHUP); err != nil {
		w.t.Fatal(err)
	}
	w.until(p, startTimeout, p.Name+" to read its secrets", func() error {
		if loads() == before {
			return errors.New("it has not yet")
		}
		return nil
	})
}

// wantRefused waits until client1 is off-line and says that it is because of its secret.
func (w *world) wantRefused(why string) {
	w.t.Helper()
	s := w.untilStatus(2*qualificationTimeout, "client1", "offline, without an address", func(s clientStatus) bool { return s.State == "offline" && s.Address == "" })
	if addr, has := w.teredoAddr("client1"); has || !strings.Contains(s.LastError, why) {
		w.t.Errorf("last_error %q, want %q in it; address %v", s.LastError, why, addr)
	}
}
