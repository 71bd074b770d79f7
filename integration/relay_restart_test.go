//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	downTime  = 2 * time.Second // of a relay that is killed
	pingsEach = 50              // how many pings after its return are looked at, five a second,
	pingsLost = 25              // and how many of them may be lost while the machine is busy; tunnel.TestRelayRestart has the exact time
)

// TestRelayRestart kills the relay and starts it again under pings and TCP, from either side. It has forgotten its clients, and
// they are soon with it again (R-RX-03).
func TestRelayRestart(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		client implementation
		flags  []string
	}{{ours, nil}, {ours, []string{"--kernel-path=off"}}, {miredo, nil}} {
		t.Run(fmt.Sprint(tt.client, tt.flags), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, lab.PortRestricted)
			w.record()
			w.startServer(ours)
			relay := w.startRelay(ours, tt.flags...)
			client, addr := w.startClient("client1", tt.client, tt.flags...)
			native := netip.MustParseAddr(lab.NativeAddr)
			w.ping("client1", native)
			if tt.client == ours && tt.flags == nil {
				w.untilCarried("client1", native, programs{"client1": client, "relay": relay})
			}
			restart := func() {
				relay.Kill()
				time.Sleep(downTime)
				relay = w.startRelay(ours, tt.flags...)
				w.until(relay, startTimeout, "the relay to be ready", func() error {
					if answer := w.query("relay", "relay", "status"); !json.Valid([]byte(answer)) {
						return errors.New(answer)
					}
					return nil
				})
			}
			for _, way := range []struct {
				from, to string
				addr     netip.Addr
			}{{"client1", "native", native}, {"native", "client1", addr}} {
				w.pingAcross(way.from, way.addr, restart)
				w.streamAcross(way.from, way.to, way.addr, restart)
			}
		})
	}
}

// pingAcross pings five times a second while something is restarted, and checks how many pings are lost after that.
func (w *world) pingAcross(from string, to netip.Addr, restart func()) {
	w.t.Helper()
	p := w.start(from, "ping", "-6", "-n", "-O", "-i", "0.2", to.String())
	defer p.Kill()
	answered := func() map[int]bool { return numbers(p, echoReplies) }
	answers := func(after, most int) {
		w.t.Helper()
		w.until(p, startTimeout, fmt.Sprintf("answers to %s", from), func() error {
			if last := highest(answered()); last < after+most {
				return fmt.Errorf("the last answer is to ping %d", last)
			}
			return nil
		})
	}
	answers(0, 5)
	restart()
	returned := highest(numbers(p, `icmp_seq=(\d+)`)) // the last one before the return, or the first after
	answers(returned, pingsEach)
	lost := 0
	for n, all := returned+1, answered(); n <= returned+pingsEach; n++ {
		if !all[n] {
			lost++
		}
	}
	if lost > pingsLost {
		w.t.Errorf("%s -> %v: %d of %d pings after the return are lost", from, to, lost, pingsEach)
	}
}

// numbers are those that the output of a program has where the pattern says.
func numbers(p *lab.Process, pattern string) map[int]bool {
	found := make(map[int]bool)
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(p.Log(), -1) {
		if n, err := strconv.Atoi(match[1]); err == nil {
			found[n] = true
		}
	}
	return found
}

func highest(numbers map[int]bool) (most int) {
	for n := range numbers {
		most = max(most, n)
	}
	return most
}

// streamAcross sends over TCP while something is restarted. The same connection goes on after that.
func (w *world) streamAcross(from, to string, addr netip.Addr, restart func()) {
	w.t.Helper()
	out, in := w.connect(from, to, addr)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(out, rand.NewChaCha8([32]byte{})) // until it is closed
	}()
	defer func() {
		out.Close()
		in.Close()
		<-ended
	}()
	arrives := func(when string) {
		w.t.Helper()
		if err := in.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
			w.t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, in, kernelTransfer); err != nil {
			w.t.Fatalf("%s the restart, %s -> %s: %v", when, from, to, err)
		}
	}
	arrives("before")
	restart()
	// What was received while the relay stopped is still to be read.
	arrives("after")
	arrives("after")
}

// connect connects two hosts by TCP.
func (w *world) connect(from, to string, addr netip.Addr) (out, in net.Conn) {
	w.t.Helper()
	listener, err := w.Host(to).Listen(netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		w.t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), contactTimeout)
	defer cancel()
	if out, err = w.Host(from).Dial(ctx, listener.Addr().String()); err != nil {
		w.t.Fatalf("connect %s -> %s: %v", from, to, err)
	}
	if in, err = listener.Accept(); err != nil {
		out.Close()
		w.t.Fatal(err)
	}
	return out, in
}
