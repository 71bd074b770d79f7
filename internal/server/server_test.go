package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// arrival is what one ReadBatch of a fakeConn returns.
type arrival struct {
	datagrams []teredo.Datagram
	err       error
}

// fakeConn is a UDP socket made of channels.
type fakeConn struct {
	in     chan arrival
	sent   []teredo.Datagram // copies, but for refused ones
	refuse netip.AddrPort    // the kernel does not send there
	closed chan struct{}
	closes int
}

func newFakeConn() *fakeConn {
	return &fakeConn{in: make(chan arrival), closed: make(chan struct{})}
}

func (c *fakeConn) ReadBatch(ms []udp.Message) (int, error) {
	select {
	case <-c.closed:
		return 0, fmt.Errorf("read udp: %w", net.ErrClosed)
	case a := <-c.in:
		for i, d := range a.datagrams {
			ms[i] = udp.Message{Buf: d.Payload, N: len(d.Payload), Remote: d.Remote}
		}
		return len(a.datagrams), a.err
	}
}

func (c *fakeConn) WriteBatch(ms []udp.Message) (int, error) {
	n, err := 0, error(nil)
	for _, m := range ms {
		if m.Remote == c.refuse {
			err = syscall.EPERM
			continue
		}
		c.sent = append(c.sent, teredo.Datagram{Remote: m.Remote, Payload: bytes.Clone(m.Buf[:m.N])})
		n++
	}
	return n, err
}

func (c *fakeConn) Close() error {
	c.closes++
	if c.closes == 1 {
		close(c.closed)
	}
	return nil
}

func (c *fakeConn) receive(ds ...teredo.Datagram) { c.in <- arrival{datagrams: ds} }

// fakeNative is a raw IPv6 socket.
type fakeNative struct {
	sent   [][]byte
	refuse netip.Addr
	closes int
}

func (n *fakeNative) Send(dst netip.Addr, ipv6 []byte) error {
	if dst == n.refuse {
		return syscall.ENETUNREACH
	}
	n.sent = append(n.sent, bytes.Clone(ipv6))
	return nil
}

func (n *fakeNative) Close() error { n.closes++; return nil }

// bench is a Server on fakes.
type bench struct {
	*Server
	primary, secondary *fakeConn
	natives            []*fakeNative
	log                bytes.Buffer
	stop               context.CancelFunc
	done               chan error
}

// start runs a server of two addresses inside a synctest bubble. Without native its raw sockets cannot be opened.
func start(t *testing.T, native bool) *bench {
	t.Helper()
	b := &bench{primary: newFakeConn(), secondary: newFakeConn(), done: make(chan error)}
	openRaw := func() (nativeSender, error) {
		if !native {
			return nil, syscall.EPERM
		}
		b.natives = append(b.natives, &fakeNative{})
		return b.natives[len(b.natives)-1], nil
	}
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	b.Server = newServer(labConfig(), newHandler(t, labConfig()), [][]conn{{b.primary, b.secondary}}, openRaw, log)
	b.openNatives()
	ctx, cancel := context.WithCancel(t.Context())
	b.stop = cancel
	go func() { b.done <- b.Run(ctx) }()
	synctest.Wait()
	return b
}

// end stops the server and checks that nothing stays open.
func (b *bench) end(t *testing.T) {
	t.Helper()
	b.stop()
	if err := <-b.done; err != nil {
		t.Errorf("Run() = %v", err)
	}
	if b.primary.closes != 1 || b.secondary.closes != 1 {
		t.Errorf("sockets were closed %d and %d times", b.primary.closes, b.secondary.closes)
	}
	for _, n := range b.natives {
		if n.closes != 1 {
			t.Errorf("a raw socket was closed %d times", n.closes)
		}
	}
}

func datagram(from netip.AddrPort, payload []byte) teredo.Datagram {
	return teredo.Datagram{Remote: from, Payload: payload}
}

func TestServerMovesPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, true)
		b.primary.receive(
			datagram(mappedA, rs(solicitor)),
			datagram(mappedA, rs(coneSolicitor)),
			datagram(mappedA, bubble(clientA, clientB)),
			datagram(mappedA, []byte("junk")),
			datagram(relay, ping(nativeHost, clientB)),
			datagram(mappedA, ping(clientA, nativeHost)),
			datagram(mappedA, bubble(clientA, nativeHost)),
			datagram(mappedA, ping(clientA, serverLL)),
		)
		synctest.Wait()
		b.secondary.receive(datagram(mappedA, rs(solicitor)))
		synctest.Wait()
		time.Sleep(90 * time.Second)
		got := b.Status()
		b.end(t)

		ra := join(origin(mappedA), teredo.AppendRouterAdvertisement(nil, primaryAddr, solicitor))
		coneRA := join(origin(mappedA), teredo.AppendRouterAdvertisement(nil, primaryAddr, coneSolicitor))
		wantPrimary := []teredo.Datagram{
			datagram(mappedA, ra),
			datagram(mappedB, join(origin(mappedA), bubble(clientA, clientB))),
			datagram(mappedB, join(origin(relay), ping(nativeHost, clientB))),
			datagram(mappedA, teredo.AppendEchoReply(nil, serverLL, ping(clientA, serverLL))),
		}
		compare := cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })
		if diff := cmp.Diff(wantPrimary, b.primary.sent, compare); diff != "" {
			t.Errorf("from the primary address (-want +got):\n%s", diff)
		}
		wantSecondary := []teredo.Datagram{datagram(mappedA, coneRA), datagram(mappedA, ra)}
		if diff := cmp.Diff(wantSecondary, b.secondary.sent, compare); diff != "" {
			t.Errorf("from the secondary address (-want +got):\n%s", diff)
		}
		wantNative := [][]byte{
			with(ping(clientA, nativeHost), hopLimitAt, 254),
			with(bubble(clientA, nativeHost), hopLimitAt, 254),
		}
		if diff := cmp.Diff(wantNative, slices.Concat(b.natives[0].sent, b.natives[1].sent)); diff != "" {
			t.Errorf("natively (-want +got):\n%s", diff)
		}

		j, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		want := `{"bind":["192.0.2.1","192.0.2.2"],"public":["192.0.2.1","192.0.2.2"],"prefix":"2001:0:c000:201::/64",` +
			`"native":true,"offloads":{"kernel_path":false},"uptime_seconds":90,"counters":{"solicitations":3,"advertisements":3,"advertisements_cone":1,"echoes_answered":1,` +
			`"bubbles_forwarded":1,"echoes_forwarded":1,"bubbles_forwarded_native":1,"echoes_forwarded_native":1,"advertisements_kernel":0,"bubbles_forwarded_kernel":0,` +
			`"receive_errors":0,"drops":{"malformed":1}}}`
		if string(j) != want {
			t.Errorf("status\n%s, want\n%s", j, want)
		}
	})
}

func TestServerOutlivesReceiveErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, true)
		for range 3 {
			b.primary.in <- arrival{err: syscall.ENOMEM}
			synctest.Wait()
		}
		b.primary.receive(datagram(mappedA, rs(solicitor)))
		synctest.Wait()
		b.primary.in <- arrival{err: syscall.ENOMEM, datagrams: []teredo.Datagram{datagram(mappedA, rs(solicitor))}}
		synctest.Wait()
		b.end(t)
		if n := len(b.primary.sent); n != 2 {
			t.Errorf("%d answers after the errors, want 2", n)
		}
		if n := b.Status().Counters.ReceiveErrors; n != 4 {
			t.Errorf("%d receive errors counted, want 4", n)
		}
		if n := strings.Count(b.log.String(), "cannot receive datagrams"); n != 2 {
			t.Errorf("%d warnings, want one for each row of errors:\n%s", n, &b.log)
		}
	})
}

func TestServerOutlivesSendErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, true)
		b.primary.refuse = mappedA
		b.natives[0].refuse = nativeHost
		other := netip.MustParseAddr("2001:db8:6::2")
		b.primary.receive(
			datagram(mappedA, rs(solicitor)),
			datagram(mappedB, rs(solicitor)),
			datagram(mappedA, ping(clientA, nativeHost)),
			datagram(mappedA, ping(clientA, other)),
		)
		synctest.Wait()
		b.primary.receive(datagram(mappedB, rs(solicitor)))
		synctest.Wait()
		b.end(t)
		if n := len(b.primary.sent); n != 2 {
			t.Errorf("%d datagrams sent, want 2", n)
		}
		counters := b.Status().Counters
		if diff := cmp.Diff(map[string]uint64{"send-failed": 1, "no-route": 1}, counters.Drops); diff != "" {
			t.Errorf("drops (-want +got):\n%s", diff)
		}
		if counters.NativeEchoes != 1 {
			t.Errorf("%d echoes sent natively, want 1", counters.NativeEchoes)
		}
	})
}

func TestServerWithoutRawIPv6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, false)
		b.primary.receive(datagram(mappedA, ping(clientA, nativeHost)), datagram(mappedA, bubble(clientA, clientB)))
		b.secondary.receive(datagram(mappedA, ping(clientA, nativeHost)))
		synctest.Wait()
		b.end(t)
		status := b.Status()
		if status.Native || status.Counters.Drops["no-route"] != 2 || status.Counters.Bubbles != 1 {
			t.Errorf("status %+v", status)
		}
		if n := strings.Count(b.log.String(), "CAP_NET_RAW"); n != 1 {
			t.Errorf("%d warnings, want 1:\n%s", n, &b.log)
		}
	})
}

// The second raw socket fails where the first did not, as with too many open files.
func TestRawSocketsAllOrNone(t *testing.T) {
	first := &fakeNative{}
	opened := 0
	openRaw := func() (nativeSender, error) {
		if opened++; opened > 1 {
			return nil, syscall.EMFILE
		}
		return first, nil
	}
	s := newServer(labConfig(), newHandler(t, labConfig()), [][]conn{make([]conn, 2)}, openRaw, slog.New(slog.DiscardHandler))
	s.openNatives()
	want := []nativeSender{noNative{}, noNative{}}
	if !slices.Equal(s.natives, want) || first.closes != 1 || s.Status().Native {
		t.Errorf("natives %v, the first was closed %d times", s.natives, first.closes)
	}
}

func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, true)
		if err := b.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
		synctest.Wait()
		b.end(t)
	})
}

func TestNewChecksConfig(t *testing.T) {
	if _, err := New(Config{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("New accepted an empty configuration")
	}
}

func TestListenErrors(t *testing.T) {
	taken, err := udp.Listen(netip.MustParseAddrPort("127.0.0.1:0"), udp.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := []struct {
		name string
		cfg  Config
		want error
		text string
	}{
		{"port in use", Config{Primary: netip.MustParseAddr("127.0.0.1")}, syscall.EADDRINUSE, "primary address"},
		{"not on this host", Config{Primary: netip.MustParseAddr("198.51.100.77")}, syscall.EADDRNOTAVAIL, "198.51.100.77"},
		{"secondary in use", Config{Primary: netip.MustParseAddr("127.0.0.2"), Secondary: netip.MustParseAddr("127.0.0.1")},
			syscall.EADDRINUSE, "secondary address"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := listen(tt.cfg, taken.LocalAddr().Port(), 2)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("listen() = %v, want %v in one sentence with %q", err, tt.want, tt.text)
			}
		})
	}
}

func TestWorkerAllocatesNothing(t *testing.T) {
	sink, cfg := discard{}, labConfig()
	cfg.SourceRate = 1000
	s := newServer(cfg, newHandler(t, cfg), [][]conn{{sink, sink}}, nil, slog.New(slog.DiscardHandler))
	w := newWorker(s, 0, Primary, sink)
	n := 0
	for _, in := range paths() {
		w.in[n].Buf, w.in[n].N = in.payload, len(in.payload)
		w.in[n].Remote = in.from
		n++
	}
	if allocs := testing.AllocsPerRun(100, func() { w.process(n) }); allocs != 0 {
		t.Errorf("%v allocations for %d datagrams", allocs, n)
	}
}

// discard sends whatever it is given to nowhere.
type discard struct{}

func (discard) ReadBatch([]udp.Message) (int, error)     { return 0, net.ErrClosed }
func (discard) WriteBatch(ms []udp.Message) (int, error) { return len(ms), nil }
func (discard) Send(netip.Addr, []byte) error            { return nil }
func (discard) Close() error                             { return nil }
