//go:build linux

package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

const exitTimeout = time.Minute

// roles are the hosts of our programs, in the order of their start.
var roles = []string{"server", "relay", "client1"}

// startAll starts our three programs and waits until all of them work.
func (w *world) startAll() map[string]*lab.Process {
	w.t.Helper()
	running := map[string]*lab.Process{
		"server": w.startServer(ours),
		"relay":  w.startRelay(ours),
	}
	running["client1"], _ = w.startClient("client1", ours)
	for _, host := range roles {
		w.until(running[host], startTimeout, "the control socket of "+host, func() error {
			_, err := os.Stat(w.control(host))
			return err
		})
	}
	return running
}

// state describes the interfaces, addresses, routes and rules of a host.
func (w *world) state(host string) string {
	w.t.Helper()
	var state strings.Builder
	for _, what := range []string{"link", "address", "-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all"} {
		out, err := w.Host(host).Run(exitTimeout, append([]string{"ip", "-o"}, strings.Fields(what)...)...)
		if err != nil {
			w.t.Fatal(err)
		}
		state.WriteString(out)
	}
	return state.String()
}

// TestCleanExit checks that a signal ends each program with exit code 0 and that nothing of it stays.
func TestCleanExit(t *testing.T) {
	for name, signal := range map[string]os.Signal{"SIGTERM": unix.SIGTERM, "SIGINT": unix.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			before := make(map[string]string)
			for _, host := range roles {
				before[host] = w.state(host)
			}
			running := w.startAll()
			for _, host := range roles {
				if err := running[host].Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			for _, host := range roles {
				w.wantExit(running[host], 0)
				if after := w.state(host); after != before[host] {
					t.Errorf("%s is not as before:\n%s\nwas:\n%s", host, after, before[host])
				}
				if _, err := os.Stat(w.control(host)); !os.IsNotExist(err) {
					t.Errorf("the control socket of %s is still there: %v", host, err)
				}
			}
		})
	}
}

// TestStartAfterKill checks that what a killed program leaves behind does not hinder the next one.
func TestStartAfterKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	for _, p := range w.startAll() {
		p.Kill()
	}
	w.startAll()
}

// TestSecondStart checks that a second start of the same instance fails and says why, and that the first goes on.
func TestSecondStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	for host, first := range w.startAll() {
		second := w.start(host, first.Args()...)
		w.wantExit(second, 1, "already run")
		w.query(host, strings.TrimSuffix(host, "1"), "status")
		select {
		case <-first.Done():
			t.Errorf("%s has ended too", first.Name)
		default:
		}
	}
}

// wantExit waits for a program's end and checks its exit code, and that its output has each of the texts.
func (w *world) wantExit(p *lab.Process, code int, texts ...string) {
	w.t.Helper()
	got, err := p.Wait(exitTimeout)
	if err != nil {
		w.t.Fatal(err)
	}
	if got != code {
		w.t.Errorf("%s: exit code %d, want %d", p.Name, got, code)
	}
	for _, text := range texts {
		if !strings.Contains(p.Log(), text) {
			w.t.Errorf("%s: output without %q: %s", p.Name, text, p.Tail(5))
		}
	}
}
