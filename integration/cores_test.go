//go:build linux

package integration

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/integration/population"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/succession"
)

// manyClients are so many that each of four queues, and each of four sockets, has some of them.
const manyClients = 100

// TestCores has a relay carry packets with four workers each way, as on a host with eight processors. Every client is reached, whichever
// queue and socket its packets go through, and TCP works both ways. After a kill the next relay takes its place.
func TestCores(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"auto", "off"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			permit := "--permit-ipv4=" + population.Range
			w.startServer(ours, permit)
			relay := w.startRelayOn(8, "--kernel-path="+path, permit)
			w.wantWorkers(relay.Pid(), 4)
			c := w.crowd()
			c.reach(manyClients)
			native := netip.MustParseAddr(lab.NativeAddr)
			addrs := make(map[string]netip.Addr)
			for _, host := range []string{"client1", "client2"} {
				_, addrs[host] = w.startClient(host, ours)
				w.ping(host, native)
			}
			for host, addr := range addrs {
				for range 4 { // connections are different flows
					w.transfer(host, "native", native, kernelTransfer)
					w.transfer("native", host, addr, kernelTransfer)
				}
			}
			if got, want := w.query("relay", "relay", "status"), `"confined": "capabilities, no_new_privs, landlock, seccomp"`; !strings.Contains(got, want) {
				t.Errorf("the status has no %s: %s", want, got)
			}
			// Another relay cannot share the port, or the interface.
			w.wantExit(w.start("relay", w.relayCommand("--control", w.control("other"))...), 1, "UDP port 3545 of "+lab.RelayAddr+" is in use by another program")
			w.wantExit(w.start("relay", slices.Concat(on(8), w.relayCommand("--port", "3546", "--control", w.control("other")))...), 1, "interface "+tun+" exists already")
			relay.Kill()
			w.startRelayOn(8, "--kernel-path="+path, permit)
			c.reach(manyClients)
		})
	}
}

// TestCoresUpgrade upgrades a relay when the number of processors has changed. The new one has the queues and sockets of the old one,
// however many these are.
func TestCoresUpgrade(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ before, after, workers int }{{2, 8, 1}, {8, 2, 4}} {
		t.Run(fmt.Sprintf("%d to %d processors", tt.before, tt.after), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			permit := "--permit-ipv4=" + population.Range
			w.startServer(ours, permit)
			relay := w.startRelayOn(tt.before, "--kernel-path=off", permit)
			w.wantWorkers(relay.Pid(), tt.workers)
			c := w.crowd()
			c.reach(manyClients)
			_, addr := w.startClient("client1", ours)
			native := netip.MustParseAddr(lab.NativeAddr)
			w.ping("client1", native)
			streams := []*stream{w.stream("client1", "native", native), w.stream("native", "client1", addr)}
			for _, processors := range []int{tt.after, tt.before} {
				for _, s := range streams {
					s.awaits(kernelTransfer)
				}
				pid := w.upgradeOn(processors)
				for _, s := range streams {
					s.awaits(kernelTransfer)
				}
				w.wantWorkers(pid, tt.workers)
				c.reach(manyClients)
			}
			if code, err := relay.Wait(startTimeout); code != 0 || err != nil {
				t.Errorf("the first relay has ended with %d, %v", code, err)
			}
		})
	}
}

// on is what has a program believe that it has so many processors.
func on(processors int) []string { return []string{"env", fmt.Sprint("GOMAXPROCS=", processors)} }

// startRelayOn is startRelay on a host with so many processors.
func (w *world) startRelayOn(processors int, flags ...string) *lab.Process {
	w.t.Helper()
	p := w.start("relay", append(on(processors), w.relayCommand(flags...)...)...)
	w.untilRelays(p)
	return p
}

// wantWorkers checks how many queues and sockets the relay has.
func (w *world) wantWorkers(pid, want int) {
	w.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		w.t.Fatal(err)
	}
	queues := 0
	for _, file := range files {
		if name, err := os.Readlink(file); err == nil && name == "/dev/net/tun" {
			queues++
		}
	}
	if err := w.Host("relay").Do(func() error {
		table, err := os.ReadFile("/proc/thread-self/net/udp")
		if sockets := strings.Count(string(table), fmt.Sprintf(":%04X 00000000:0000", relayPort)); err == nil && (queues != want || sockets != want) {
			err = fmt.Errorf("the relay has %d queues and %d sockets, want %d of each", queues, sockets, want)
		}
		return err
	}); err != nil {
		w.t.Error(err)
	}
}

// upgradeOn does what 'teredo-relay upgrade' does, and gives the new relay so many processors. It returns the new process.
func (w *world) upgradeOn(processors int) (pid int) {
	w.t.Helper()
	conn, err := control.Connect(w.t.Context(), w.control("relay"), "upgrade")
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	how, stderr, err := succession.ReadInvocation(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer stderr.Close()
	socket, err := conn.File()
	if err != nil {
		w.t.Fatal(err)
	}
	defer socket.Close()
	words, write, err := os.Pipe()
	if err != nil {
		w.t.Fatal(err)
	}
	defer words.Close()
	next := exec.Command(program("relay"), how.Args...)
	env := slices.DeleteFunc(how.Env, func(v string) bool { return strings.HasPrefix(v, "GOMAXPROCS=") })
	next.Env = append(env, fmt.Sprint("GOMAXPROCS=", processors), "TEREDO_UPGRADE=1")
	next.Stderr, next.ExtraFiles = write, []*os.File{socket, stderr}
	if err := w.Host("relay").Do(next.Start); err != nil {
		w.t.Fatal(err)
	}
	write.Close()
	w.t.Cleanup(func() {
		_ = next.Process.Signal(unix.SIGTERM) // it may have been replaced
		_ = next.Wait()
	})
	if text, err := io.ReadAll(words); err != nil || string(text) != "\x00" {
		w.t.Fatalf("the new relay says %q, %v", text, err)
	}
	return next.Process.Pid
}
