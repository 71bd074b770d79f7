//go:build linux

package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

// announcement is what tests read of the status of server and relay.
type announcement struct {
	State     string
	Announced bool
	Reason    string `json:"withdrawn_reason"`
}

// untilAnnouncement waits until the status says so. The host has the name of its program's role.
func (w *world) untilAnnouncement(p *lab.Process, host, what string, want func(announcement) bool) {
	w.t.Helper()
	w.until(p, 2*startTimeout, what, func() error {
		var a announcement
		answer := w.query(host, host, "status")
		if err := json.Unmarshal([]byte(answer), &a); err != nil || !want(a) {
			return fmt.Errorf("status: %s", answer)
		}
		return nil
	})
}

// bird starts BIRD on a host, with a part of its configuration. What it returns tells the prefixes that it has learnt, sorted.
func (w *world) bird(host, config string) (learnt func() []string) {
	w.t.Helper()
	socket := filepath.Join(w.Folder(), "bird-"+host)
	p := w.start(host, "bird", "-f", "-s", socket, "-c", w.config(host+".bird", "router id 192.0.2.99;\nlog stderr all;\nprotocol device { }\n"+config))
	routes := func() (string, error) { return w.Host(host).Run(startTimeout, "birdc", "-s", socket, "show", "route") }
	w.until(p, startTimeout, "BIRD", func() error {
		_, err := routes()
		return err
	})
	prefix := regexp.MustCompile(`(?m)^[0-9a-f:.]+/\d+`)
	return func() []string {
		out, err := routes()
		if err != nil {
			w.t.Error(err)
		}
		return slices.Sorted(slices.Values(prefix.FindAllString(out, -1)))
	}
}

// untilLearnt waits until BIRD has learnt exactly these prefixes.
func (w *world) untilLearnt(learnt func() []string, want ...string) {
	w.t.Helper()
	if err := lab.Until(startTimeout, "BIRD to learn", func() error {
		if got := learnt(); !slices.Equal(got, want) {
			return fmt.Errorf("it has learnt %q, want %q", got, want)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// TestRelayDrains drains a relay under pings from either side and a TCP connection, while the Internet's route still leads to it.
// BIRD learns from the kernel what the relay announces: nothing but its whole prefixes, and nothing when it drains. Nobody notices the
// drain. The relay stops when nobody comes any more (R-RT-01).
func TestRelayDrains(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	learnt := w.bird("relay", "protocol kernel { learn; ipv6 { import where krt_source = 44; export all; }; }\n")
	w.untilLearnt(learnt)
	const prefix = "2001:db8:c::/64" // of a server without clients
	relay := w.startRelay(ours, "--drain-idle=20s", "--drain-time=1h", "--native-prefix", "192.0.2.77="+prefix, "--web=127.0.0.1:9544")
	w.untilAnnouncement(relay, "relay", "the relay to be announced", func(a announcement) bool { return a.State == "running" && a.Announced && a.Reason == "" })
	w.untilLearnt(learnt, "2001::/32", prefix)
	w.untilReadiness("200")

	_, addr := w.startClient("client1", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	pings := []*lab.Process{
		w.start("client1", "ping", "-6", "-n", "-i", "0.1", native.String()),
		w.start("native", "ping", "-6", "-n", "-i", "0.1", addr.String()),
	}
	last := func(p *lab.Process) int { return highest(numbers(p, `bytes from .* icmp_seq=(\d+)`)) }
	untilPings := func(more int) {
		t.Helper()
		for _, p := range pings {
			now := last(p)
			w.until(p, startTimeout, "more answers", func() error {
				if n := last(p); n < now+more {
					return fmt.Errorf("the last answer is to ping %d", n)
				}
				return nil
			})
		}
	}
	conn := w.echoConnection("client1", "native", native)
	w.exchange(conn, "before the drain")
	untilPings(10)

	drain := w.start("relay", program("relay"), "drain", "--control", w.control("relay"))
	w.untilAnnouncement(relay, "relay", "the relay to drain", func(a announcement) bool { return a.State == "draining" && !a.Announced && a.Reason == "draining" })
	w.untilLearnt(learnt)
	w.untilReadiness("503")
	untilPings(50)
	w.exchange(conn, "during the drain")
	_, fresh := w.startClient("client2", ours) // also those are served who come only now
	w.ping("client2", native)
	w.ping("native", fresh)
	for _, p := range pings {
		n := last(p)
		if lost := n - len(numbers(p, `bytes from .* icmp_seq=(\d+)`)); lost > 0 {
			t.Errorf("%d of %d pings are lost:\n%s", lost, n, p.Log())
		}
		if err := p.Signal(unix.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	conn.Close()

	w.wantExit(relay, 0, `msg=draining asked_by="the command drain"`, "reason=drained")
	w.wantExit(drain, 0, "Waiting for clients to leave", "teredo-relay has drained and stopped.")
	w.wantNoInterface("relay", tun)
}

// untilReadiness waits until the relay's web address answers so. An answer is given to all who ask within a second.
func (w *world) untilReadiness(want string) {
	w.t.Helper()
	if err := lab.Until(startTimeout, "the readiness", func() error {
		out, err := w.Host("relay").Run(startTimeout, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:9544/readyz")
		if err == nil && out != want {
			err = fmt.Errorf("it is %q, want %q", out, want)
		}
		return err
	}); err != nil {
		w.t.Error(err)
	}
}

// A relay whose time is over stops while it serves, and SIGUSR1 does what the command does. The command says that nothing runs when
// nothing does.
func TestDrainEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	relay := w.startRelay(ours, "--drain-idle=1h", "--drain-time=1s")
	w.startClient("client1", ours)
	pings := w.start("client1", "ping", "-6", "-n", "-i", "0.1", lab.NativeAddr)
	w.until(pings, startTimeout, "an answer", func() error {
		if highest(numbers(pings, `bytes from .* icmp_seq=(\d+)`)) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	if err := relay.Signal(unix.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	w.wantExit(relay, 0, "msg=draining asked_by=SIGUSR1", "reason=drained")
	w.wantExit(w.start("relay", program("relay"), "drain", "--control", w.control("relay")), 0, "teredo-relay was not running.")

	w.startRelay(ours).Kill()
	w.wantNoInterface("relay", tun)
}

// wantNoInterface checks that a host has no such interface.
func (w *world) wantNoInterface(host, ifname string) {
	w.t.Helper()
	if err := lab.Until(startTimeout, ifname+" to go", func() error {
		if out, err := w.Host(host).Run(startTimeout, "ip", "link", "show", "dev", ifname); err == nil {
			return errors.New(out)
		}
		return nil
	}); err != nil {
		w.t.Error(err)
	}
}

// TestServerAnnounces has a server at addresses that its host does not have otherwise. BIRD finds them on the server's interface while
// it is ready, and not while it drains. Clients, new ones too, are served all the same. A killed server leaves nothing.
func TestServerAnnounces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	learnt := w.bird("server", `protocol direct { ipv4; interface "teredo-anycast"; }`+"\n")
	command := w.serverCommand("--announce", "--drain-idle=20s")
	w.wantExit(w.start("server", command...), 64, "uplink has this address already")
	w.wantExit(w.start("server", checkCommand(command)...), 1, "uplink has this address already")
	for _, args := range [][]string{
		{"addr", "flush", "dev", "uplink"}, {"addr", "add", "192.0.2.9/24", "dev", "uplink"}, {"route", "add", "default", "via", "192.0.2.254"},
	} {
		w.run("server", append([]string{"ip", "-4"}, args...)...)
	}
	addresses := []string{lab.ServerAddr + "/32", lab.ServerAddr2 + "/32"}
	w.wantExit(w.start("server", checkCommand(command)...), 0, "The server puts [192.0.2.1 192.0.2.2] on an interface of its own", "The interface teredo-anycast can be made")

	for range 2 { // the second finds nothing of the first
		p := w.start("server", command...)
		w.untilAnnouncement(p, "server", "the server to be announced", func(a announcement) bool { return a.State == "running" && a.Announced })
		w.untilLearnt(learnt, addresses...)
		p.Kill()
		w.untilLearnt(learnt)
		w.wantNoInterface("server", "teredo-anycast")
		w.wantNoInterface("server", "teredo-kept")
		for _, table := range []string{"main", "local"} {
			if out, err := w.Host("server").Run(startTimeout, "ip", "-4", "route", "show", "table", table); err != nil || strings.Contains(out, lab.ServerAddr+" ") {
				t.Errorf("routes of a killed server: %v\n%s", err, out)
			}
		}
	}

	server := w.start("server", command...)
	w.untilLearnt(learnt, addresses...)
	client, _ := w.startClient("client1", ours, "--refresh-interval=5s")
	if got, want := w.confined("server"), "capabilities, no_new_privs, landlock, seccomp"; got != want {
		t.Errorf("the server is confined by %q, want %q", got, want)
	}
	w.run("server", program("server"), "drain", "--no-wait", "--control", w.control("server"))
	w.untilAnnouncement(server, "server", "the server to drain", func(a announcement) bool { return a.State == "draining" && a.Reason == "draining" })
	w.untilLearnt(learnt)
	w.wantNoInterface("server", "teredo-anycast")
	fresh, _ := w.startClient("client2", ours, "--refresh-interval=5s")
	w.untilState("client1", "qualified")
	w.stop(client)
	w.stop(fresh)
	w.wantExit(server, 0, "reason=drained")
	w.wantNoInterface("server", "teredo-kept")
}

// TestOverload has hosts of many networks look for more clients than a relay has budgets for. It withdraws its route, goes on to serve
// those whom it knows, and announces the route again when it has been calm for a while (R-DOS-01).
func TestOverload(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	w.startServer(ours)
	relay := w.startRelay(ours)
	w.startClient("client1", ours)
	native := netip.MustParseAddr(lab.NativeAddr)
	w.ping("client1", native)
	w.untilAnnouncement(relay, "relay", "the relay to be announced", func(a announcement) bool { return a.Announced })

	calm := w.scan()
	w.untilAnnouncement(relay, "relay", "the relay to be withdrawn", func(a announcement) bool {
		return a.State == "running" && !a.Announced && strings.HasPrefix(a.Reason, "overload-")
	})
	if out, err := w.Host("relay").Run(startTimeout, "ip", "-6", "route", "show", "proto", "44"); err != nil || out != "" {
		t.Errorf("routes %q, %v", out, err)
	}
	w.ping("client1", native)
	calm()
	w.untilAnnouncement(relay, "relay", "the relay to be announced again", func(a announcement) bool { return a.Announced })
	w.untilRelays(relay)
	if log := relay.Log(); strings.Count(log, "reason=overload") != 1 {
		t.Errorf("the log:\n%s", log)
	}
}

// scan has the native host send packets to clients that there are not, in the name of hosts of many networks, until it is told to end.
func (w *world) scan() (end func()) {
	w.t.Helper()
	const each, pause = 50, 10 * time.Millisecond
	fd := -1
	if err := w.Host("native").Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // with the header that we make
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		defer unix.Close(fd)
		random := rand.New(rand.NewPCG(1, 2))
		address := func(first byte) netip.AddrPort {
			n := random.Uint32()
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{first, byte(n), byte(n >> 8), byte(n >> 16)}), 4000)
		}
		for {
			for range each {
				n := random.Uint32()
				from := netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), 15: 1})
				to := teredo.Address{Server: address(8).Addr(), Mapped: address(9)}.Addr()
				// What the queues on the way have no room for is part of the flood.
				_ = unix.Sendto(fd, teredo.AppendEchoRequest(nil, from, to, 1, 1, nil), 0, &unix.SockaddrInet6{Addr: to.As16()})
			}
			select {
			case <-stop:
				return
			case <-time.After(pause):
			}
		}
	}()
	ended := false
	end = func() {
		if !ended {
			ended = true
			close(stop)
			<-stopped
		}
	}
	w.t.Cleanup(end)
	return end
}
