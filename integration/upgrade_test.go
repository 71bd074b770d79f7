//go:build linux

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

const (
	mostStall    = 200 * time.Millisecond // of a TCP connection during an upgrade
	mostUpgrades = 6                      // until one is that quick on a busy machine
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
	text, err := w.Host(host).Run(startTimeout, program(role), "upgrade", "--control", w.control(host))
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

var _, _, _ = context.Background, io.EOF, os.Args
