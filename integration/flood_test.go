//go:build linux

package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	victim     = "victim"
	victimAddr = "5.5.5.2"

	// A client asks its server every 5 s at most, and takes it for silent after 12 s without an answer.
	floodInterval = "--refresh-interval=5s"
	floodPings    = 200 // in 20 s
)

// TestFlood floods a client without a NAT, from made-up sources and in the name of its server, with random bytes, bubbles, data of
// strangers, indirect bubbles and router advertisements. It stays qualified across several refresh intervals, pings to a live peer go
// on, and a new peer is reached (SEC-DOS-01).
func TestFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t, lab.PortRestricted)
	if _, err := w.AddHost("inet", victim, "5.5.5.1/30", victimAddr+"/30"); err != nil {
		t.Fatal(err)
	}
	w.startServer(ours)
	_, live := w.startClient("client1", ours)
	_, fresh := w.startClient("client2", ours)
	// Without the kernel's path, which no flood reaches.
	client, own := w.startClient(victim, ours, floodInterval, "--kernel-path=off")
	w.ping(victim, live)

	f := w.flood(own)
	pings := w.start(victim, "ping", "-6", "-n", "-i", "0.1", "-c", fmt.Sprint(floodPings), live.String())
	if err := lab.Until(startTimeout, "a new peer to be reached", func() error { return w.Host(victim).Ping(fresh, 5*time.Second) }); err != nil {
		t.Error(err)
	}
	if _, err := pings.Wait(2 * startTimeout); err != nil {
		t.Fatal(err)
	}
	took, sent := f.stop()
	answered := len(numbers(pings, echoReplies))
	t.Logf("%d hostile datagrams, %.0f/s; %d of %d pings answered; %s", sent, float64(sent)/took.Seconds(), answered, floodPings, w.query(victim, "client", "status"))
	if answered < floodPings/2 {
		t.Errorf("%d of %d pings answered", answered, floodPings)
	}
	if s, err := w.status(victim); err != nil || s.State != "qualified" || s.Address != own.String() {
		t.Errorf("status %+v, %v", s, err)
	}
	for _, trouble := range []string{"does not answer", "offline"} {
		if log := client.Log(); strings.Contains(log, trouble) {
			t.Errorf("the log says %q:\n%s", trouble, log)
		}
	}
}

// flood is hostile datagrams that a router sends to a client.
type flood struct {
	began   time.Time
	ending  atomic.Bool
	ended   chan struct{}
	sent    int
	packets [][]byte // IPv4
}

// flood begins to send to a client as fast as one thread can.
func (w *world) flood(victim netip.Addr) *flood {
	w.t.Helper()
	f := &flood{began: time.Now(), ended: make(chan struct{}), packets: hostile(victim)}
	fd := -1
	if err := w.Host("inet").Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) // with the header that we make
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Addr: teredo.Mapped(victim).Addr().As4()}
	go func() {
		defer close(f.ended)
		defer unix.Close(fd)
		for ; !f.ending.Load(); f.sent++ {
			// What the queues before the client have no room for is part of the flood.
			_ = unix.Sendto(fd, f.packets[f.sent%len(f.packets)], 0, to)
		}
	}()
	w.t.Cleanup(func() { f.stop() })
	return f
}

// stop ends the flood.
func (f *flood) stop() (took time.Duration, sent int) {
	f.ending.Store(true)
	<-f.ended
	return time.Since(f.began), f.sent
}

// hostile makes up datagrams, as many of each kind.
func hostile(victim netip.Addr) (packets [][]byte) {
	r := rand.New(rand.NewChaCha8([32]byte{}))
	server := netip.AddrPortFrom(teredo.ServerOf(victim), teredo.Port)
	for range 4096 {
		random := make([]byte, 8+r.IntN(1000))
		for i := range random {
			random[i] = byte(r.Uint32())
		}
		somewhere := netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, random[0], random[1], random[2]}), 4000)
		peer := teredo.Address{Server: server.Addr(), Mapped: somewhere}.Addr()
		native := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 12: random[3], 13: random[4], 14: random[5], 15: random[6]})
		auth := teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte(random)})
		for _, d := range []struct {
			from    netip.AddrPort
			payload []byte
		}{
			{somewhere, random},
			{somewhere, teredo.AppendBubble(nil, peer, victim, 255)},
			{somewhere, teredo.AppendEchoRequest(nil, native, victim, 1, 1, random[:8])},
			{server, teredo.AppendBubble(nil, peer, victim, 255)},
			{server, teredo.AppendRouterAdvertisement(teredo.AppendOrigin(auth, somewhere), server.Addr(), teredo.ClientLinkLocal(false, netip.AddrPort{}))},
		} {
			packets = append(packets, ipv4Packet(d.from, teredo.Mapped(victim), d.payload))
		}
	}
	return packets
}

// ipv4Packet is a UDP datagram with its IPv4 header, without checksums: the kernel computes that of the header, and UDP needs none.
func ipv4Packet(from, to netip.AddrPort, payload []byte) []byte {
	const header, udpHeader = 20, 8
	b := make([]byte, header+udpHeader, header+udpHeader+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[header:], from.Port())
	binary.BigEndian.PutUint16(b[header+2:], to.Port())
	binary.BigEndian.PutUint16(b[header+4:], uint16(udpHeader+len(payload)))
	return append(b, payload...)
}
