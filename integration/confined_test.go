//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// TestConfined looks at all threads of programs that root has started and that are set up. Each has no capability but the one that it
// needs, is under a filter of system calls, and cannot get more. Its status says so, and the client still does what it can do.
func TestConfined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	const netAdmin = 1 << unix.CAP_NET_ADMIN
	capabilities := map[string]uint64{"server": 0, "relay": netAdmin, "client1": netAdmin}
	server := w.startServer(ours)
	w.run("relay", "sysctl", "-w", "net.ipv6.conf.all.forwarding=0")
	relay := w.startRelay(ours, "--forwarding")
	client, _ := w.startClient("client1", ours, "--refresh-interval", "auto")
	native := netip.MustParseAddr(lab.NativeAddr)
	w.untilCarried("client1", native, programs{"client1": client, "relay": relay})
	for host, p := range map[string]*lab.Process{"server": server, "relay": relay, "client1": client} {
		w.untilState(host, "running", "qualified")
		if got, want := w.confined(host), "capabilities, no_new_privs, landlock, seccomp"; got != want {
			t.Errorf("%s is confined by %q, want %q", host, got, want)
		}
		for _, thread := range threads(t, p.Pid()) {
			want := map[string]string{
				"CapPrm": fmt.Sprintf("%016x", capabilities[host]), "CapEff": fmt.Sprintf("%016x", capabilities[host]),
				"CapInh": fmt.Sprintf("%016x", 0), "CapAmb": fmt.Sprintf("%016x", 0), "NoNewPrivs": "1", "Seccomp": "2",
			}
			for name, value := range want {
				if thread[name] != value {
					t.Errorf("a thread of %s has %s %s, want %s", host, name, thread[name], value)
				}
			}
		}
	}
	// A new uplink gets the kernel's program, an interface that somebody takes down comes back, and forwarding goes off at the end.
	w.run("client1", "ip", "link", "set", tun, "down")
	if err := lab.Until(startTimeout, "the interface to come back", func() error {
		out, err := w.Host("client1").Run(startTimeout, "ip", "-6", "route", "show", "default", "dev", tun)
		if err == nil && strings.TrimSpace(out) == "" {
			err = errors.New("no default route")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.ping("client1", native)
	w.run("relay", "sysctl", "-w", "net.ipv6.conf."+tun+".disable_ipv6=1")
	if err := lab.Until(startTimeout, "the relay's interface to have IPv6 again", func() error {
		return w.Host("client1").Ping(native, stoppedTimeout)
	}); err != nil {
		t.Fatal(err)
	}
	for host, p := range map[string]*lab.Process{"server": server, "relay": relay, "client1": client} {
		w.stop(p)
		if _, err := os.Stat(w.control(host)); !os.IsNotExist(err) {
			t.Errorf("%s has left its control socket: %v", host, err)
		}
		if log := strings.ToLower(p.Log()); strings.Contains(log, "denied") || strings.Contains(log, "not permitted") {
			t.Errorf("%s misses something: %s", host, log)
		}
	}
	if got, err := w.Host("relay").Run(startTimeout, "sysctl", "-n", "net.ipv6.conf.all.forwarding"); err != nil || strings.TrimSpace(got) != "0" {
		t.Errorf("forwarding is %q, %v", got, err)
	}
}

// TestConfinedSecret has a confined server and client read secrets from a file that has taken the place of another.
func TestConfinedSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	folder := t.TempDir() // not the one of the control sockets, where files may be written
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(path+".new", []byte(text), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secrets, mine := write("server", "laptop hex:00112233445566778899aabbccddeeff\n"), write("client", "laptop hex:00112233445566778899aabbccddeeff\n")
	server := w.start("server", w.serverCommand("--secret-file", secrets)...)
	w.untilState("server", "running")
	client, _ := w.startClient("client1", ours, "--secret-file", mine)
	write("server", "laptop hex:ffeeddccbbaa99887766554433221100\nmore hex:00112233445566778899aabbccddeeff\n")
	write("client", "more hex:00112233445566778899aabbccddeeff\n")
	w.hangups(server, "clients=2")
	w.hangups(client, "client=more")
	w.untilState("client1", "qualified")
}

// TestUnconfined has programs keep what they have, which debuggers need.
func TestUnconfined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	p := w.start("server", w.serverCommand("--no-confine")...)
	w.untilState("server", "running")
	if got, want := w.confined("server"), "no (--no-confine)"; got != want {
		t.Errorf("confined %q, want %q", got, want)
	}
	for _, thread := range threads(t, p.Pid()) {
		if thread["Seccomp"] != "0" || thread["NoNewPrivs"] != "0" {
			t.Errorf("a thread is confined: %v", thread)
		}
	}
}

// TestConfinedProfiles asks a confined program for profiles, and for the names of a CPU profile's functions.
func TestConfinedProfiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.start("server", w.serverCommand("--pprof", "127.0.0.1:6060")...)
	w.untilState("server", "running")
	for _, path := range []string{"heap", "goroutine?debug=1", "profile?seconds=1"} {
		w.run("server", "curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:6060/debug/pprof/"+path)
	}
}

// confined is what the status of our program on a host says of its confinement, once there is one.
func (w *world) confined(host string) (by string) {
	w.t.Helper()
	err := lab.Until(startTimeout, host+" to be confined", func() error {
		var s struct {
			Confined string `json:"confined"`
		}
		answer := w.query(host, strings.TrimRight(host, "12"), "status")
		if err := json.Unmarshal([]byte(answer), &s); err != nil || s.Confined == "" {
			return errors.Join(err, fmt.Errorf("status: %s", answer))
		}
		by = s.Confined
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return by
}

// threads reads what the kernel tells of each thread of a process.
func threads(t *testing.T, pid int) (all []map[string]string) {
	t.Helper()
	folder := filepath.Join("/proc", strconv.Itoa(pid), "task")
	tasks, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(filepath.Join(folder, task.Name(), "status"))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		fields := make(map[string]string)
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(line, ":")
			fields[name] = strings.TrimSpace(value)
		}
		all = append(all, fields)
	}
	if len(all) == 0 {
		t.Fatalf("process %d has no thread", pid)
	}
	return all
}
