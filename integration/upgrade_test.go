//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	mostStall    = 200 * time.Millisecond // of a TCP connection during an upgrade
	mostUpgrades = 20                     // until one is that quick on a busy machine
	upgradeBytes = 64 << 20               // that a connection carries before an upgrade, and after it
)

// TestUpgrade upgrades the relay under TCP both ways, as fast as the machine can carry it. No connection is lost, and none stalls for
// longer than mostStall. On a busy machine any process may have to wait that long, so an upgrade has several chances; every one of
// them must keep the connections, the interface and the clients.
func TestUpgrade(t *testing.T) {
	for _, flags := range [][]string{nil, {"--kernel-path=off"}} {
		t.Run(fmt.Sprint(flags), func(t *testing.T) {
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.startServer(ours)
			relay := w.startRelay(ours, flags...)
			client, addr := w.startClient("client1", ours, flags...)
			native := netip.MustParseAddr(lab.NativeAddr)
			w.ping("client1", native)
			if flags == nil {
				w.untilCarried("client1", native, programs{"client1": client, "relay": relay})
			}
			before := w.relayInterface()
			streams := []*stream{w.stream("client1", "native", native), w.stream("native", "client1", addr)}
			for n := range mostUpgrades {
				for _, s := range streams {
					s.awaits(upgradeBytes)
				}
				was := w.relayPeer(addr)
				for _, s := range streams {
					s.worst.Store(0)
				}
				began, rate := time.Now(), streams[0].bytes.Load()+streams[1].bytes.Load()
				pid := w.upgrade("relay", "relay")
				for _, s := range streams {
					s.awaits(upgradeBytes)
				}
				stall := max(streams[0].stall(), streams[1].stall())
				rate = streams[0].bytes.Load() + streams[1].bytes.Load() - rate
				t.Logf("upgrade %d, process %d: stall %v at %.1f Gbit/s", n+1, pid, stall, float64(rate)*8e-9/time.Since(began).Seconds())
				if now := w.relayInterface(); now != before {
					t.Fatalf("the interface was %s and is %s", before, now)
				}
				if is := w.relayPeer(addr); is.Sent < was.Sent || is.Received < was.Received {
					t.Fatalf("the new relay knows of its client %+v, the old one knew %+v", is, was)
				}
				if n > 0 && stall <= mostStall {
					return
				}
			}
			t.Errorf("all upgrades have stalled TCP for longer than %v", mostStall)
		})
	}
}

// stream is a TCP connection that carries as much as it can.
type stream struct {
	w     *world
	name  string
	bytes atomic.Int64
	last  atomic.Int64 // when some came last, in nanoseconds since the stream began
	worst atomic.Int64 // longest time without any, since it was set to 0
	began time.Time
	err   chan error
}

// stream starts one, for as long as the test lasts.
func (w *world) stream(from, to string, addr netip.Addr) *stream {
	w.t.Helper()
	out, in := w.connect(from, to, addr)
	s := &stream{w: w, name: from + " -> " + to, began: time.Now(), err: make(chan error, 1)}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for buffer := make([]byte, 1<<20); ; {
			if _, err := out.Write(buffer); err != nil {
				return
			}
		}
	}()
	received := make(chan struct{})
	go func() {
		defer close(received)
		for buffer := make([]byte, 1<<20); ; {
			n, err := in.Read(buffer)
			if err != nil {
				s.err <- err
				return
			}
			now := int64(time.Since(s.began))
			if gap := now - s.last.Swap(now); gap > s.worst.Load() {
				s.worst.Store(gap)
			}
			s.bytes.Add(int64(n))
		}
	}()
	w.t.Cleanup(func() {
		for _, c := range []net.Conn{out, in} {
			c.Close()
		}
		<-sent
		<-received
	})
	return s
}

// awaits waits until the stream has carried so many more bytes.
func (s *stream) awaits(n int64) {
	s.w.t.Helper()
	until := s.bytes.Load() + n
	if err := lab.Until(startTimeout, fmt.Sprintf("%s to carry %d bytes", s.name, n), func() error {
		select {
		case err := <-s.err:
			s.err <- err
			return fmt.Errorf("connection lost: %w", err)
		default:
		}
		if got := s.bytes.Load(); got < until {
			return fmt.Errorf("%d bytes are missing", until-got)
		}
		return nil
	}); err != nil {
		s.w.t.Fatal(err)
	}
}

// stall is the longest time without a byte since worst was set to 0.
func (s *stream) stall() time.Duration {
	return time.Duration(max(s.worst.Load(), int64(time.Since(s.began))-s.last.Load()))
}

// upgrade upgrades a program on a host, and returns the process that runs then.
func (w *world) upgrade(host, role string) (pid int) {
	w.t.Helper()
	return w.upgradeAt(host, role, w.control(host))
}

// upgradeAt is upgrade of the program at a control socket, by a command that another one runs.
func (w *world) upgradeAt(host, role, socket string, as ...string) (pid int) {
	w.t.Helper()
	text, err := w.Host(host).Run(startTimeout, append(as[:len(as):len(as)], program(role), "upgrade", "--control", socket)...)
	if err != nil {
		w.t.Fatal(err)
	}
	_, number, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(text), "."), "process ")
	if pid, err = strconv.Atoi(number); err != nil {
		w.t.Fatalf("upgrade says %q", text)
	}
	w.t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGTERM) }) // it may have been replaced
	return pid
}

// relayInterface is what tells the relay's interface from another one of the same name.
func (w *world) relayInterface() string {
	w.t.Helper()
	var links []struct {
		Index int `json:"ifindex"`
	}
	text, err := w.Host("relay").Run(startTimeout, "ip", "-j", "link", "show", tun)
	if err == nil {
		err = json.Unmarshal([]byte(text), &links)
	}
	addrs, errAddrs := w.Host("relay").Addrs(tun)
	if err := errors.Join(err, errAddrs); err != nil || len(links) != 1 {
		w.t.Fatalf("%q: %v", text, err)
	}
	return fmt.Sprint(links[0].Index, addrs)
}

// relayPeer is what the relay knows of a client.
func (w *world) relayPeer(client netip.Addr) (p struct {
	Address  netip.Addr `json:"address"`
	Sent     uint64     `json:"sent_packets"`
	Received uint64     `json:"received_packets"`
}) {
	w.t.Helper()
	text := w.query("relay", "relay", "peers")
	peers := []*struct {
		Address  netip.Addr `json:"address"`
		Sent     uint64     `json:"sent_packets"`
		Received uint64     `json:"received_packets"`
	}{}
	if err := json.Unmarshal([]byte(text), &peers); err != nil {
		w.t.Fatalf("%v: %s", err, text)
	}
	for _, q := range peers {
		if q.Address == client {
			return *q
		}
	}
	w.t.Fatalf("the relay does not know %v: %s", client, text)
	return p
}

// TestUpgradeConfined upgrades a relay that an ordinary user runs with the capabilities that it needs, and that has confined itself. What
// takes its place is confined in the same way, and upgraded in turn.
func TestUpgradeConfined(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	folder := filepath.Join(w.Folder(), "relay")
	if err := errors.Join(os.Mkdir(folder, 0o755), os.Chown(folder, unprivileged, unprivileged), os.Chmod(w.Folder(), 0o755)); err != nil {
		t.Fatal(err)
	}
	const capabilities = "+net_admin,+net_raw,+bpf,+perfmon"
	as := []string{"setpriv", "--reuid", fmt.Sprint(unprivileged), "--regid", fmt.Sprint(unprivileged), "--clear-groups", "--no-new-privs",
		"--inh-caps", capabilities, "--ambient-caps", capabilities, "--"}
	socket := filepath.Join(folder, "relay.sock")
	w.startServer(ours)
	relay := w.start("relay", append(as, w.relayCommand("--control", socket)...)...)
	w.untilRelays(relay)
	_, addr := w.startClient("client1", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	stream := w.stream("client1", "native", native)
	for range 2 {
		stream.awaits(kernelTransfer)
		pid := w.upgradeAt("relay", "relay", socket, as...)
		stream.awaits(kernelTransfer)
		text, err := w.Host("relay").Run(startTimeout, program("relay"), "status", "--json", "--control", socket)
		if want := `"confined": "capabilities, no_new_privs, landlock, seccomp"`; err != nil || !strings.Contains(text, want) {
			t.Errorf("%v, and the status has no %s: %s", err, want, text)
		}
		for _, thread := range threads(t, pid) {
			if thread["Uid"] != fmt.Sprintf("%d\t%[1]d\t%[1]d\t%[1]d", unprivileged) || thread["Seccomp"] != "2" {
				t.Errorf("a thread of the new relay is %v", thread)
			}
		}
	}
	w.ping("native", addr)
	if code, err := relay.Wait(startTimeout); code != 0 || err != nil {
		t.Errorf("the first relay has ended with %d, %v", code, err)
	}
	// Root is not the user of the program, and the new one would have other rights.
	if out, err := w.Host("relay").Run(startTimeout, program("relay"), "upgrade", "--control", socket); err == nil || !strings.Contains(err.Error(), "as that user") {
		t.Errorf("root upgrades the program of another user: %q, %v", out, err)
	}
}

// unprivileged is a user and a group without any rights.
const unprivileged = 65534

// TestUpgradeFails has upgrades fail, before the new relay asks for anything and after it has got everything. The running relay goes on,
// and both say why. Afterwards an upgrade succeeds, and takes the new configuration.
func TestUpgradeFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	config := filepath.Join(w.Folder(), "relay.toml")
	configure := func(lines ...string) {
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	configure("forwarding = true")
	w.startServer(ours)
	w.run("relay", "sysctl", "-w", "net.ipv6.conf.all.forwarding=0")
	forwarding := func(want string) {
		t.Helper()
		if got, err := w.Host("relay").Run(startTimeout, "sysctl", "-n", "net.ipv6.conf.all.forwarding"); err != nil || strings.TrimSpace(got) != want {
			t.Errorf("IPv6 forwarding is %q, %v, want %s", got, err, want)
		}
	}
	relay := w.startRelay(ours, "--config", config)
	_, addr := w.startClient("client1", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	stream := w.stream("client1", "native", native)
	for _, test := range []struct{ config, command, log string }{
		{"capacity = 1", "a capacity of 1 clients is not possible", "no new process has come up"},
		{"kernel-path = \"on\"\nudp-gso = \"maybe\"", "udp-gso", "no new process has come up"},
		{"neighbor-proxy = \"missing0\"\nnative-prefix = \"192.0.2.1=2001:db8:c::/64\"", "this host has no interface missing0", "the new process has not taken over"},
	} {
		configure("forwarding = true", test.config)
		out, err := w.Host("relay").Run(startTimeout, program("relay"), "upgrade", "--control", w.control("relay"))
		if err == nil || !strings.Contains(err.Error(), test.command) || !strings.Contains(err.Error(), "the running program goes on") {
			t.Errorf("upgrade with %s says %q, %v, want %q", test.config, out, err, test.command)
		}
		w.until(relay, startTimeout, "the log of the running relay", func() error {
			if !strings.Contains(relay.Log(), test.log) {
				return fmt.Errorf("no %q", test.log)
			}
			return nil
		})
		forwarding("1")
		stream.awaits(kernelTransfer)
		w.ping("native", addr)
	}
	configure("forwarding = true", "log-level = \"debug\"")
	pid := w.upgrade("relay", "relay")
	stream.awaits(kernelTransfer)
	forwarding("1")
	if code, err := relay.Wait(startTimeout); code != 0 || err != nil {
		t.Errorf("the old relay has ended with %d, %v", code, err)
	}
	if err := unix.Kill(pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := lab.Until(startTimeout, "the new relay to stop", func() error {
		// Nobody waits for it, as the command that started it has ended. So it may stay as a zombie.
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil && !strings.Contains(string(status), "State:\tZ") {
			return fmt.Errorf("process %d is there: %s", pid, status)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// It has undone what the first relay has done.
	forwarding("0")
	if addrs, _ := w.Host("relay").Addrs(tun); len(addrs) > 0 {
		t.Errorf("the interface is there still: %v", addrs)
	}
	if _, err := os.Stat(w.control("relay")); !os.IsNotExist(err) {
		t.Errorf("the control socket is there still: %v", err)
	}
}

// TestUpgradeServer upgrades a server and the relay in it while a client asks it all the time. Each solicitation is answered. The
// addresses that the server announces, and the relay's route, are there all the time.
func TestUpgradeServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.record()
	flags := []string{"--relay", "--native-prefix", "2001:db8:c::/64", "--announce", "--drain-idle=1h", "--drain-time=1h"}
	for _, args := range [][]string{
		{"addr", "flush", "dev", "uplink"}, {"addr", "add", "192.0.2.9/24", "dev", "uplink"}, {"route", "add", "default", "via", "192.0.2.254"},
	} {
		w.run("server", append([]string{"ip", "-4"}, args...)...)
	}
	server := w.start("server", w.serverCommand(flags...)...)
	w.until(server, startTimeout, "the server to run", func() error { return w.listens("server", teredo.Port) })
	announced := func(a announcement) bool { return a.State == "running" && a.Announced }
	w.untilAnnouncement(server, "server", "the server to be announced", announced)
	monitor := w.start("server", "ip", "monitor", "link", "address", "route")
	asks := w.socket("relay", lab.RelayAddr+":0")
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(lab.ServerAddr), teredo.Port))
	ask := func() error {
		request := teredo.AppendRouterSolicitation(nil, teredo.ClientLinkLocal(false, netip.AddrPort{}))
		_, err := asks.WriteTo(request, to)
		err = errors.Join(err, asks.SetReadDeadline(time.Now().Add(startTimeout)))
		if err == nil {
			_, _, err = asks.ReadFrom(make([]byte, 1500))
		}
		return err
	}
	var upgraded atomic.Bool
	answered, ended := 0, make(chan error)
	go func() {
		for last := false; ; answered++ {
			if err := ask(); err != nil || last {
				ended <- err
				return
			}
			last = upgraded.Load()
			time.Sleep(2 * time.Millisecond) // else a quick machine exceeds what the server answers to one address
		}
	}()
	w.upgrade("server", "server")
	upgraded.Store(true)
	if err := <-ended; err != nil {
		t.Errorf("solicitation %d is not answered: %v", answered+1, err)
	}
	if code, err := server.Wait(startTimeout); code != 0 || err != nil {
		t.Errorf("the old server has ended with %d, %v", code, err)
	}
	if log := monitor.Log(); strings.Contains(log, "Deleted") {
		t.Errorf("something has gone away: %s", log)
	}
	t.Logf("%d solicitations are answered", answered)
	if got := w.query("server", "server", "status"); !strings.Contains(got, `"announced": true`) {
		t.Errorf("the new server is not announced: %s", got)
	}
	if out, err := w.Host("server").Run(startTimeout, "ip", "-6", "route", "show", "proto", "44"); err != nil || !strings.Contains(out, "2001::/32 dev "+tun) {
		t.Errorf("the new relay announces %q, %v", out, err)
	}
	// The new one withdraws what the old one has announced. Another one would announce it again, so there is none.
	w.run("server", program("server"), "drain", "--no-wait", "--control", w.control("server"))
	w.wantNoInterface("server", "teredo-anycast")
	if out, err := w.Host("server").Run(startTimeout, program("server"), "upgrade", "--control", w.control("server")); err == nil || !strings.Contains(err.Error(), "drains") {
		t.Errorf("a server that drains is upgraded: %q, %v", out, err)
	}
}
