//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// hangups sends SIGHUP to a program until its log says what, and at least three times.
func (w *world) hangups(p *lab.Process, what string) {
	w.t.Helper()
	sent := 0
	w.until(p, startTimeout, what+" in the log of "+p.Name, func() error {
		if err := p.Signal(unix.SIGHUP); err != nil {
			return err
		}
		if sent++; sent < 3 || !strings.Contains(p.Log(), what) {
			return errors.New("it has not yet")
		}
		return nil
	})
}

// TestHangup sends SIGHUP to each program from the moment that it has its control socket on, while it sets itself up and when it
// works. Without a file to read again it says so, and goes on. What ends it then is in its log.
func TestHangup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	running := make(map[string]*lab.Process)
	for _, host := range roles {
		p := w.start(host, w.command(host)...)
		running[host] = p
		w.until(p, startTimeout, "the control socket of "+host, func() error {
			_, err := os.Stat(w.control(host))
			return err
		})
		w.hangups(p, "nothing to read again")
	}
	for _, host := range roles {
		w.untilState(host, "running", "qualified")
		w.hangups(running[host], "nothing to read again")
		w.untilState(host, "running", "qualified")
	}
	for _, host := range roles {
		if err := running[host].Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		w.wantExit(running[host], 0, "reason=SIGTERM")
		if _, err := os.Stat(w.control(host)); !os.IsNotExist(err) {
			t.Errorf("the control socket of %s is still there: %v", host, err)
		}
	}
}

// TestHangupReadsConfiguration changes the configuration files of the three programs while they run.
func TestHangupReadsConfiguration(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	for _, tt := range []struct{ host, restart string }{
		{"server", "strict-source = true"}, {"relay", "host-only = true"}, {"client1", "always = true"},
	} {
		config := w.config(tt.host, "")
		p := w.start(tt.host, append(w.command(tt.host), "--config", config)...)
		w.untilState(tt.host, "running", "qualified")
		w.config(tt.host, tt.restart+"\nlog-level = \"debug\"\n")
		flag, _, _ := strings.Cut(tt.restart, " ")
		w.hangups(p, "restart to apply\" flag="+flag)
		if !strings.Contains(p.Log(), "flag=log-level") {
			t.Errorf("%s has not taken the log level: %s", tt.host, p.Tail(5))
		}
		w.config(tt.host, "no-such-key = 1\n")
		w.hangups(p, "no-such-key")
		w.untilState(tt.host, "running", "qualified")
	}
}

// TestHangupPermits has each of the three programs, which are confined, permit a range of IPv4 addresses at SIGHUP that it has refused
// before.
func TestHangupPermits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	const some = "192.0.2.0/24,198.51.100.0/24" // the NATs are not in these
	permit := func(host, ranges string) string { return w.config(host, fmt.Sprintf("permit-ipv4 = %q\n", ranges)) }
	running := make(map[string]*lab.Process)
	for _, host := range []string{"server", "relay", "client1"} {
		argv := w.command(host)
		at := slices.Index(argv, "--permit-ipv4")
		running[host] = w.start(host, append(slices.Delete(argv, at, at+2), "--config", permit(host, some))...)
	}
	refused := func(host, word string) {
		t.Helper()
		w.until(running[host], startTimeout, host+" to refuse the address of the NAT", func() error {
			role := strings.TrimRight(host, "1")
			if status := w.query(host, role, "status"); !strings.Contains(status, word) {
				return errors.New(status)
			}
			return nil
		})
	}
	permits := func(host string) {
		t.Helper()
		permit(host, lab.PublicRanges)
		w.hangups(running[host], "flag=permit-ipv4")
	}
	refused("server", `"not-global"`)
	permits("server")
	refused("client1", `"last_refused"`)
	permits("client1")
	w.untilState("client1", "qualified")
	native := netip.MustParseAddr(lab.NativeAddr)
	w.until(running["relay"], startTimeout, "the relay to refuse the address of the NAT", func() error {
		_ = w.Host("client1").Ping(native, stoppedTimeout)
		if status := w.query("relay", "relay", "status"); !strings.Contains(status, `"not-global"`) {
			return errors.New(status)
		}
		return nil
	})
	permits("relay")
	w.ping("client1", native)
}

// TestForwardingAfterKill kills a relay that has turned IPv6 forwarding on. The next one turns it off when it stops, whichever
// flags it has, and leaves alone what it has not turned on.
func TestForwardingAfterKill(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	forwarding := func(want string) {
		t.Helper()
		got, err := w.Host("relay").Run(startTimeout, "sysctl", "-n", "net.ipv6.conf.all.forwarding")
		if err != nil || strings.TrimSpace(got) != want {
			t.Errorf("forwarding is %q, %v; want %s", got, err, want)
		}
	}
	set := func(value string) { w.run("relay", "sysctl", "-w", "net.ipv6.conf.all.forwarding="+value) }
	run := func(end func(*lab.Process), flags ...string) {
		t.Helper()
		p := w.startRelay(ours, flags...)
		w.untilState("relay", "running")
		forwarding("1")
		end(p)
	}
	kill := (*lab.Process).Kill
	for _, flags := range [][]string{{"--forwarding"}, nil} {
		set("0")
		run(kill, "--forwarding")
		run(kill, flags...)
		forwarding("1")
		run(w.stop, flags...)
		forwarding("0")
	}
	// Somebody else has turned it on meanwhile.
	set("1")
	run(w.stop, "--forwarding")
	forwarding("1")
	// And here off and on again, after a kill.
	set("0")
	run(kill, "--forwarding")
	set("0")
	p := w.startRelay(ours)
	w.untilState("relay", "running")
	w.stop(p)
	set("1")
	run(w.stop)
	forwarding("1")
	// What an earlier start of the host has left does not count.
	if err := os.WriteFile(filepath.Join(w.Folder(), "relay.forwarding"), []byte("another boot\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(w.stop)
	forwarding("1")
}

// TestStatusDuringSetUp keeps relay and client in the middle of their set-up, by a file that is slow to read. They answer at once,
// and so they do when they go on.
func TestStatusDuringSetUp(t *testing.T) {
	for _, tt := range []struct{ host, file, waitsFor, then string }{
		{"relay", "relay.forwarding", "the forwarding of IPv6", "running"},
		{"client1", "client1.portmap", "the addresses of this host, and the list of port mappings that an earlier run has left", "qualified"},
	} {
		t.Run(tt.host, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.startServer(ours)
			slow := filepath.Join(w.Folder(), tt.file)
			if err := unix.Mkfifo(slow, 0o600); err != nil {
				t.Fatal(err)
			}
			p := w.start(tt.host, w.command(tt.host)...)
			w.until(p, startTimeout, "a status that names "+tt.waitsFor, func() error {
				s, err := w.phase(tt.host)
				if err == nil && (s.State != "initial" || s.WaitingFor != tt.waitsFor) {
					err = fmt.Errorf("status: %+v", s)
				}
				return err
			})
			if err := p.Signal(unix.SIGHUP); err != nil { // heeded once the program is set up
				t.Fatal(err)
			}
			if got := w.query(tt.host, strings.TrimSuffix(tt.host, "1"), "peers"); strings.TrimSpace(got) != "[]" {
				t.Errorf("peers: %s", got)
			}
			if err := os.WriteFile(slow, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			w.untilState(tt.host, tt.then)
			w.hangups(p, "nothing to read again")
		})
	}
}

// command is the command line of our program on a host.
func (w *world) command(host string) []string {
	switch host {
	case "server":
		return w.serverCommand()
	case "relay":
		return w.relayCommand()
	}
	return w.clientCommand(host)
}

// phase is what the status of every program says first.
type phase struct {
	State      string `json:"state"`
	WaitingFor string `json:"waiting_for"`
}

func (w *world) phase(host string) (s phase, err error) {
	out := w.query(host, strings.TrimRight(host, "12"), "status")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return s, errors.New(out)
	}
	return s, nil
}

// untilState waits until our program on a host is in one of the states.
func (w *world) untilState(host string, states ...string) {
	w.t.Helper()
	if err := lab.Until(startTimeout, host+" to be "+strings.Join(states, " or "), func() error {
		s, err := w.phase(host)
		for _, state := range states {
			if err == nil && s.State == state {
				return nil
			}
		}
		return fmt.Errorf("status: %+v, %v", s, err)
	}); err != nil {
		w.t.Fatal(err)
	}
}
