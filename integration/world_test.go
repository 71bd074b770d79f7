//go:build linux

package integration

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	tun = "teredo" // the TUN interface of every program

	// Both are far longer than needed, as two cores may have much else to do.
	pingTimeout  = 30 * time.Second
	startTimeout = time.Minute
)

// world is a lab in a test. A test that fails prints what there is to know about it.
type world struct {
	*lab.Lab
	t       *testing.T
	capture *lab.Capture
}

// newWorld lays out a lab whose two NATs are of the same kind.
func newWorld(t *testing.T, nat lab.NAT) *world {
	t.Helper()
	return newWorldBehind(t, nat, nat)
}

// newWorldBehind lays out a lab whose clients are behind NATs of two kinds.
func newWorldBehind(t *testing.T, nat1, nat2 lab.NAT) *world {
	t.Helper()
	lab.Need(t)
	l, err := lab.New(nat1, nat2)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Lab: l, t: t}
	l.CloseAfter(t, w.explain)
	return w
}

// record captures what the router sees, without TCP, for explain.
func (w *world) record() {
	w.t.Helper()
	// The next header of a plain Teredo packet is byte 6 after the UDP header.
	capture, err := w.Host("inet").Capture("any", "(udp and udp[14] != 6) or icmp or icmp6")
	if err != nil {
		w.t.Fatal(err)
	}
	w.capture = capture
}

// explain logs every program's output, our clients' status, what IPv6 stacks have refused, and the last packets that the router saw.
func (w *world) explain() {
	for _, p := range w.Processes() {
		if p.Program() != "tcpdump" {
			w.t.Logf("%s:\n%s", p.Name, p.Tail(40))
		}
	}
	for _, host := range []string{"client1", "client2", neighbour} {
		if _, err := os.Stat(w.control(host)); err == nil {
			w.t.Logf("status of %s: %s", host, w.query(host, "client", "status"))
			w.t.Logf("peers of %s: %s", host, w.query(host, "client", "peers"))
		}
	}
	for _, host := range []string{"client1", "client2", "relay", "native"} {
		// It fails when there is nothing to tell.
		refused, _ := w.Host(host).Run(startTimeout, "grep", "-E", "(Err|Discard|NoRoute|NoPort)[A-Za-z]*[[:space:]]+[1-9]", "/proc/net/snmp6")
		w.t.Logf("refused by the IPv6 stack of %s:\n%s", host, refused)
	}
	if w.capture == nil {
		return
	}
	if err := w.capture.Stop(); err != nil {
		w.t.Log(err)
	}
	text, err := dissect(w.capture.File)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	w.t.Logf("the last packets at the router (%v):\n%s", err, strings.Join(lines[max(0, len(lines)-80):], "\n"))
}

// until waits for check while a program runs, or fails the test.
func (w *world) until(p *lab.Process, timeout time.Duration, what string, check func() error) {
	w.t.Helper()
	if err := p.Until(timeout, what, check); err != nil {
		w.t.Fatal(err)
	}
}

// start starts a program on a host.
func (w *world) start(host string, argv ...string) *lab.Process {
	w.t.Helper()
	p, err := w.Host(host).Start(argv...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// socket opens a UDP socket on a host, for as long as the test lasts.
func (w *world) socket(host, addr string) net.PacketConn {
	w.t.Helper()
	c, err := w.Host(host).ListenPacket(addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// teredoAddr returns the Teredo address of a host, if it has one. It must not have several.
func (w *world) teredoAddr(host string) (netip.Addr, bool) {
	w.t.Helper()
	addrs, err := w.Host(host).Addrs(tun)
	if err != nil {
		w.t.Fatal(err)
	}
	addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool { return !teredo.IsTeredo(a) })
	switch len(addrs) {
	case 0:
		return netip.Addr{}, false
	case 1:
		return addrs[0], true
	}
	w.t.Fatalf("%s has several Teredo addresses: %v", host, addrs)
	return netip.Addr{}, false
}

// ping sends one echo request, whose reply must come in time.
func (w *world) ping(from string, to netip.Addr) {
	w.t.Helper()
	if err := w.Host(from).Ping(to, pingTimeout); err != nil {
		w.t.Errorf("ping %s -> %v: %v", from, to, err)
	}
}

// TestCommandEnds checks that a command of the lab ends when its program does, though another one that this has started still
// has its output open. Any other process that is being started meanwhile has it open, too, for a moment.
func TestCommandEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	if out, err := w.Host("client1").Run(startTimeout, "sh", "-c", "echo done; sleep 3600 &"); err != nil || out != "done\n" {
		t.Errorf("output %q, %v", out, err)
	}
}
