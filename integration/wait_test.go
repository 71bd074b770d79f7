//go:build linux

package integration

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// statusCommand is the command line of the status command for the program on a host.
func (w *world) statusCommand(host string, more ...string) []string {
	return append([]string{program(strings.TrimRight(host, "12")), "status", "--control", w.control(host)}, more...)
}

// TestWait has status wait for programs that start later. When it ends with exit code 0, packets get through.
func TestWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	waiting := make(map[string]*lab.Process)
	for _, host := range roles {
		waiting[host] = w.start(host, w.statusCommand(host, "--wait")...)
		w.until(waiting[host], startTimeout, "status to wait", func() error {
			if !strings.Contains(waiting[host].Log(), "Waiting for the program to start (control socket "+w.control(host)+")\n") {
				return errors.New("it does not say so")
			}
			return nil
		})
	}
	w.start("client1", w.clientCommand("client1")...)
	w.until(waiting["client1"], startTimeout, "status to wait for the server", func() error {
		if !strings.Contains(waiting["client1"].Log(), "router advertisement") {
			return errors.New("it does not say so")
		}
		return nil
	})
	w.start("server", w.serverCommand()...)
	w.wantExit(waiting["server"], 0, "running")
	w.start("relay", w.relayCommand()...)
	w.wantExit(waiting["relay"], 0, "running")
	w.wantExit(waiting["client1"], 0, "qualified")
	w.ping("client1", netip.MustParseAddr(lab.NativeAddr))
	w.wantExit(w.start("client1", w.statusCommand("client1", "--wait=0s")...), 0, "qualified")
}

// TestStatusExitCodes: a client that cannot qualify is off-line, and its status says so by exit code 3. Waiting for it in vain ends
// with 1.
func TestStatusExitCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.wantExit(w.start("client1", w.statusCommand("client1", "--wait=10ms")...), 1, "the program to start")
	w.start("client1", w.clientCommand("client1")...)
	w.untilStatus(2*qualificationTimeout, "client1", "offline", func(s clientStatus) bool { return s.State == "offline" })
	w.wantExit(w.start("client1", w.statusCommand("client1")...), 3, "last error")
	w.wantExit(w.start("client1", w.statusCommand("client1", "--json")...), 3, `"last_error"`)
	w.wantExit(w.start("client1", w.statusCommand("client1", "--wait=10ms")...), 1, "it still waits for")
	w.startServer(ours)
	w.wantExit(w.start("client1", w.statusCommand("client1", "--wait")...), 0)
	w.wantExit(w.start("client1", w.statusCommand("client1")...), 0, "qualified")
}

// TestStatusOfYielding: a host with native IPv6 needs no Teredo, and nothing is wrong then.
func TestStatusOfYielding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	w.startClient("client1", ours)
	for _, command := range []string{"address add 2001:db8:77::2/64 dev uplink nodad", "-6 route add default via 2001:db8:77::1 dev uplink"} {
		if out, err := w.Host("client1").Run(startTimeout, append([]string{"ip"}, strings.Fields(command)...)...); err != nil {
			t.Fatal(out, err)
		}
	}
	s := w.untilStatus(startTimeout, "client1", "offline", func(s clientStatus) bool { return s.State == "offline" })
	if s.LastError != "" {
		t.Errorf("last_error %q", s.LastError)
	}
	w.wantExit(w.start("client1", w.statusCommand("client1")...), 0, "native ipv6", "uplink")
	w.wantExit(w.start("client1", w.statusCommand("client1", "--wait=0s")...), 0, "native ipv6")
}
