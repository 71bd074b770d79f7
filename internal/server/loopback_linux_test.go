package server

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// patience is how long a datagram over loopback may take before the test gives up.
const patience = time.Minute

// loopback is a server on real sockets of 127.0.0.1 and 127.0.0.2. The kernel chooses the ports.
type loopback struct {
	*Server
	primary, secondary netip.AddrPort
}

func startLoopback(t *testing.T) loopback {
	t.Helper()
	cfg := Config{
		Primary:   netip.MustParseAddr("127.0.0.1"),
		Secondary: netip.MustParseAddr("127.0.0.2"),
		Filter:    teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}
	groups, err := listen(cfg, 0, 2)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(cfg, newHandler(t, cfg), groups, func() (nativeSender, error) { return noNative{}, nil }, slog.New(slog.DiscardHandler))
	s.openNatives()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
	return loopback{s, groups[0][Primary].(*udp.Conn).LocalAddr(), groups[0][Secondary].(*udp.Conn).LocalAddr()}
}

// endpoint is the socket of a client or relay. What it sends is marked ECN-capable, which
// must not show anywhere (ECN-07).
type endpoint struct {
	*net.UDPConn
	t    *testing.T
	addr netip.AddrPort
}

func newEndpoint(t *testing.T, ip string) endpoint {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const ect1 = 1
	err = raw.Control(func(fd uintptr) {
		err := errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, ect1))
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return endpoint{c, t, c.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (e endpoint) send(to netip.AddrPort, payload []byte) {
	e.t.Helper()
	if _, err := e.WriteToUDPAddrPort(payload, to); err != nil {
		e.t.Fatal(err)
	}
}

// expect reads one datagram, which must be this one.
func (e endpoint) expect(from netip.AddrPort, payload []byte) {
	e.t.Helper()
	e.SetReadDeadline(time.Now().Add(patience))
	b, oob := make([]byte, 2000), make([]byte, 100)
	n, oobn, _, remote, err := e.ReadMsgUDPAddrPort(b, oob)
	if err != nil {
		e.t.Fatal(err)
	}
	if remote != from || !bytes.Equal(b[:n], payload) {
		e.t.Errorf("from %v\n%x, want from %v\n%x", remote, b[:n], from, payload)
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:oobn])
	if err != nil || len(messages) != 1 || messages[0].Header.Type != unix.IP_TOS {
		e.t.Fatalf("control messages %v, error %v", messages, err)
	}
	if tos := messages[0].Data[0]; tos != 0 { // ECN-01
		e.t.Errorf("the outer TOS field is %#x", tos)
	}
}

// A client's way from its first solicitation to bubbles with another client and a relay.
func TestLoopback(t *testing.T) {
	s := startLoopback(t)
	a, b, r := newEndpoint(t, "127.0.0.3"), newEndpoint(t, "127.0.0.4"), newEndpoint(t, "127.0.0.5")
	ra := func(e endpoint, src netip.Addr) []byte {
		return join(nonceAuth(), origin(e.addr), teredo.AppendRouterAdvertisement(nil, s.primary.Addr(), src))
	}

	a.send(s.primary, join(nonceAuth(), rs(coneSolicitor)))
	a.expect(s.secondary, ra(a, coneSolicitor)) // S-RS-03
	a.send(s.primary, join(nonceAuth(), rs(solicitor)))
	a.expect(s.primary, ra(a, solicitor))
	a.send(s.secondary, join(nonceAuth(), rs(solicitor)))
	a.expect(s.secondary, ra(a, solicitor)) // S-RS-08
	b.send(s.primary, join(nonceAuth(), rs(solicitor)))
	b.expect(s.primary, ra(b, solicitor))

	addrA, addrB := clientOf(s.primary.Addr(), a.addr), clientOf(s.primary.Addr(), b.addr)
	nonce := teredo.AppendNonceTrailer(nil, [4]byte{9, 8, 7, 6})
	a.send(s.primary, join(bubble(addrA, addrB), nonce))
	b.expect(s.primary, join(origin(a.addr), bubble(addrA, addrB), nonce)) // S-FWD-06, S-FWD-07
	r.send(s.primary, bubble(relayLL, addrA))
	a.expect(s.primary, join(origin(r.addr), bubble(relayLL, addrA))) // S-RX-06
	r.send(s.secondary, ping(nativeHost, addrA))
	a.expect(s.primary, join(origin(r.addr), ping(nativeHost, addrA))) // S-FWD-05

	b.send(s.primary, bubble(addrA, addrB)) // S-RX-05: forged, so the next datagram is another
	ll := teredo.ServerLinkLocal(s.primary.Addr())
	b.send(s.primary, ping(addrB, ll))
	b.expect(s.primary, teredo.AppendEchoReply(nil, ll, ping(addrB, ll)))

	if drops := s.Status().Counters.Drops; drops["source"] != 1 || len(drops) != 1 {
		t.Errorf("drops %v, want one by source", drops)
	}
}

// A remote that is gone answers with ICMP errors, which the socket must survive.
func TestLoopbackSurvivesClosedPort(t *testing.T) {
	s := startLoopback(t)
	a, gone := newEndpoint(t, "127.0.0.3"), newEndpoint(t, "127.0.0.4")
	gone.Close()
	for range 3 {
		a.send(s.primary, bubble(clientOf(s.primary.Addr(), a.addr), clientOf(s.primary.Addr(), gone.addr)))
		a.send(s.primary, rs(solicitor))
		a.expect(s.primary, join(origin(a.addr), teredo.AppendRouterAdvertisement(nil, s.primary.Addr(), solicitor)))
	}
}

// The raw socket sends packets as they are, with a source that is not this host's (S-FWD-03).
func TestRawSocket(t *testing.T) {
	raw, err := openRaw()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	listener, err := net.ListenPacket("ip6:ipv6-icmp", "::1")
	if err != nil {
		t.Skip(err)
	}
	defer listener.Close()

	// A reply, because the kernel would answer a request.
	packet := pong(clientA, netip.IPv6Loopback())
	if err := raw.Send(netip.IPv6Loopback(), packet); err != nil {
		t.Fatal(err)
	}
	listener.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 2000); ; {
		n, from, err := listener.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		if from.String() != clientA.String() { // of another program
			continue
		}
		if !bytes.Equal(b[:n], packet[teredo.HeaderLen:]) {
			t.Errorf("received %x, want %x", b[:n], packet[teredo.HeaderLen:])
		}
		break
	}

	if err := raw.Send(netip.IPv6Loopback(), packet[:4]); err == nil {
		t.Error("a packet without a header was sent")
	}
	if n := testing.AllocsPerRun(100, func() { raw.Send(netip.IPv6Loopback(), packet) }); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}
