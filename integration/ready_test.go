//go:build linux

package integration

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/teredo-suite/teredo/integration/lab"
)

// manager stands for systemd: it notes what a program tells it.
type manager struct {
	socket *net.UnixConn
	mu     sync.Mutex
	lines  []string
}

func (w *world) manager(host string) *manager {
	w.t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(w.Folder(), host+".notify")})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { socket.Close() })
	m := &manager{socket: socket}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := socket.Read(b)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.lines = append(m.lines, strings.Split(strings.TrimSpace(string(b[:n])), "\n")...)
			m.mu.Unlock()
		}
	}()
	return m
}

// flush waits until all that was sent so far is noted.
func (m *manager) flush(t *testing.T) {
	t.Helper()
	conn, err := net.DialUnix("unixgram", nil, m.socket.LocalAddr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("FLUSHED=1")); err != nil {
		t.Fatal(err)
	}
	if err := lab.Until(startTimeout, "the last message", func() error {
		if told := m.told(); !strings.Contains(told, "FLUSHED=1") {
			return errors.New(told)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (m *manager) told() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "\n")
}

// TestReady checks what the programs tell systemd. They are ready when all is open, or when the client waits for its local address,
// and never before an error that ends them.
func TestReady(t *testing.T) {
	inUse := func(port string) func(w *world, host string) {
		return func(w *world, host string) { w.socket(host, port) }
	}
	inUseTCP := func(w *world, host string) {
		l, err := w.Host(host).Listen("127.0.0.1:6060")
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { l.Close() })
	}
	withoutBPF := []string{"setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin", "--"}
	for name, tt := range map[string]struct {
		host    string
		alone   bool // there is no server
		before  func(w *world, host string)
		prefix  []string // of the command
		flags   []string
		status  string // once it is ready
		failure string // else
	}{
		"server":                        {host: "server", status: "STATUS=Serving at " + lab.ServerAddr},
		"server, port in use":           {host: "server", before: inUse(lab.ServerAddr + ":3544"), failure: "3544"},
		"server, profiles in use":       {host: "server", before: inUseTCP, flags: []string{"--pprof", "127.0.0.1:6060"}, failure: "--pprof"},
		"relay":                         {host: "relay", status: "STATUS=Relaying at " + lab.RelayAddr + ":3545"},
		"relay, port in use":            {host: "relay", before: inUse(lab.RelayAddr + ":3545"), failure: "3545"},
		"relay, no kernel path":         {host: "relay", prefix: withoutBPF, flags: []string{"--kernel-path=on"}, failure: "--kernel-path=auto"},
		"client":                        {host: "client1", status: "STATUS=qualified as 2001:0:"},
		"client, port in use":           {host: "client1", before: inUse("0.0.0.0:40000"), flags: []string{"--port", "40000"}, failure: "40000"},
		"client, no kernel path":        {host: "client1", prefix: withoutBPF, flags: []string{"--kernel-path=on"}, failure: "--kernel-path=auto"},
		"client, local address to come": {host: "client1", flags: []string{"--bind", "192.168.1.77"}, status: "STATUS=initial, waiting for the local address"},
		"client, no server":             {host: "client1", alone: true, status: "STATUS=starting, waiting for router advertisement from " + lab.ServerAddr},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			if tt.host == "client1" && !tt.alone {
				w.startServer(ours)
			}
			if tt.before != nil {
				tt.before(w, tt.host)
			}
			m := w.manager(tt.host)
			argv := append([]string{"env", "NOTIFY_SOCKET=" + m.socket.LocalAddr().String()}, tt.prefix...)
			p := w.start(tt.host, append(append(argv, w.command(tt.host)...), tt.flags...)...)
			if tt.failure != "" {
				w.wantExit(p, 1, tt.failure)
				m.flush(t)
				if told := m.told(); strings.Contains(told, "READY=1") {
					t.Errorf("ready, and then it failed: %s", told)
				}
				return
			}
			w.until(p, startTimeout, "the program to be ready", func() error {
				if told := m.told(); !strings.Contains(told, "READY=1") || !strings.Contains(told, tt.status) {
					return fmt.Errorf("told: %q", told)
				}
				return nil
			})
			if tt.host == "client1" && strings.Contains(tt.status, "local address") {
				w.run("client1", "ip", "address", "add", "192.168.1.77/24", "dev", "uplink")
				w.untilState("client1", "qualified")
			}
			w.stop(p)
			if err := lab.Until(startTimeout, "the word that it stops", func() error {
				if told := m.told(); !strings.Contains(told, "STOPPING=1") {
					return errors.New(told)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
