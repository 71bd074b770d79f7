package kernelpath

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// party is a host with a path, in a namespace of its own.
type party struct {
	*Path
	ends
	seen      netip.Addr // the address that the other host has for it
	other     netip.Addr // and it for the other
	namespace int
	tun       int          // of its program
	socket    *net.UDPConn // of its program
}

// newParties makes two hosts that a virtual link joins. Their TUN devices get GSO and CHECKSUM_PARTIAL packets. a translates the
// address of b.
func newParties(t *testing.T, e ends, natives teredo.NativePrefixes) (a, b *party) {
	t.Helper()
	inNamespace(t)
	a = &party{ends: e, seen: e.Local, namespace: thisNamespace(t)}
	inNamespace(t)
	b = &party{ends: e.swapped(), seen: e.Peer, namespace: thisNamespace(t)}
	if native, ok := natives.Native(b.Local); ok {
		b.seen = native
	}
	link, far := newVeth(t, "uplink", "far")
	must(t, netlink.LinkSetNsFd(far, a.namespace))
	b.up(t, link, a.seen, nil)
	enter(t, a.namespace)
	must(t, netlink.LinkSetUp(linkOf(t, "far")))
	a.up(t, linkOf(t, "far"), b.seen, natives)
	return a, b
}

// up sets the host up, in its namespace. Its stack sends to the other host's address.
func (p *party) up(t *testing.T, uplink netlink.Link, other netip.Addr, natives teredo.NativePrefixes) {
	t.Helper()
	p.other = other
	addAddress(t, uplink, netip.PrefixFrom(p.near.Addr(), 24).String())
	p.tun = newTUN(t, true)
	addAddress(t, linkOf(t, tunName), p.Local.String()+"/128")
	addRoute(t, linkOf(t, tunName), netip.PrefixFrom(other, 128).String())
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(p.near))
	must(t, err)
	t.Cleanup(func() { socket.Close() })
	must(t, socket.SetDeadline(time.Now().Add(patience)))
	p.socket = socket
	p.Path = openTranslating(t, p.near, natives, 16)
}

// introduce has a bubble of one host open the flow at the other, which gets it, too.
func introduce(t *testing.T, from, to *party) {
	t.Helper()
	bubble := teredo.AppendBubble(nil, from.Local, from.Peer, 21)
	must(t, from.Send(bubble))
	got := make([]byte, 2048)
	n, source, err := to.socket.ReadFromUDPAddrPort(got)
	if err != nil || source != from.near || !bytes.Equal(got[:n], bubble) {
		t.Fatalf("%x from %v (%v)", got[:n], source, err)
	}
}

func (p *party) usage(t *testing.T) Usage {
	t.Helper()
	usage, err := p.Usage(p.Flow)
	must(t, err)
	return usage
}

// Two hosts talk, and their programs get no packet of it.
func TestExchange(t *testing.T) {
	exchange(t, testEnds(), nil)
}

// The same where one of them is a relay that translates the other one's address, for its own local stack here.
func TestExchangeTranslated(t *testing.T) {
	e, natives := translatedEnds(t)
	exchange(t, e, natives)
}

// translatedEnds are those of a flow between a native host and a client that has a native address.
func translatedEnds(t *testing.T) (ends, teredo.NativePrefixes) {
	t.Helper()
	e := testEnds()
	e.Local = netip.MustParseAddr("2001:db8:1::80")
	prefix, err := teredo.NewNativePrefix(teredo.ServerOf(e.Peer), netip.MustParsePrefix("2001:db8:c::/64"))
	must(t, err)
	return e, teredo.NativePrefixes{prefix}
}

func exchange(t *testing.T, e ends, natives teredo.NativePrefixes) {
	t.Helper()
	a, b := newParties(t, e, natives)
	for _, p := range []*party{b, a} { // so the thread stays with a
		enter(t, p.namespace)
		introduce, err := p.Add(p.Flow, p.far, time.Now())
		if err != nil || !introduce {
			t.Fatalf("introduce %v, error %v", introduce, err)
		}
	}
	for _, way := range [][2]*party{{a, b}, {b, a}} {
		if way[1].usage(t).Open {
			t.Fatal("the flow is open before anything came")
		}
		introduce(t, way[0], way[1])
		if usage := way[1].usage(t); !usage.Open || usage.Received != 0 {
			t.Fatalf("after the bubble: %+v", usage)
		}
	}
	exchangeUDP(t, a, b)
	exchangeTCP(t, a, b)

	for _, p := range []*party{a, b} {
		p.mustHaveReadNothing(t)
		if usage := p.usage(t); usage.Sent < 100 || usage.Received < 100 {
			t.Errorf("usage %+v", usage)
		}
		if failed, err := p.Failed(); failed != 0 || err != nil {
			t.Errorf("failed: %d, %v", failed, err)
		}
	}
}

// mustHaveReadNothing checks that neither the TUN device nor the UDP socket has a packet of the flow for the program. The
// kernel's own packets to everybody on the link do not count.
func (p *party) mustHaveReadNothing(t *testing.T) {
	t.Helper()
	const virtioLen = 10
	for packet := receiveNow(t, p.tun); packet != nil; packet = receiveNow(t, p.tun) {
		if d := teredo.Destination(packet[virtioLen:]); d == p.Peer || d == p.other {
			t.Errorf("the program gets %x", packet[virtioLen:])
		}
	}
	raw, err := p.socket.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		if _, _, err := unix.Recvfrom(int(fd), make([]byte, 2048), unix.MSG_DONTWAIT); err != unix.EAGAIN {
			t.Errorf("the program gets a datagram (%v)", err)
		}
	}))
}

// exchangeUDP has a, in whose namespace the thread is, send packets of all sizes to b and get them back.
func exchangeUDP(t *testing.T, a, b *party) {
	t.Helper()
	enter(t, b.namespace)
	there, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(b.Local, 7)))
	must(t, err)
	defer there.Close()
	enter(t, a.namespace)
	here, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Local, 0)))
	must(t, err)
	defer here.Close()
	deadline := time.Now().Add(patience)
	must(t, there.SetDeadline(deadline))
	must(t, here.SetDeadline(deadline))

	got := make([]byte, 2048)
	for size := 0; size <= teredo.MTU-teredo.HeaderLen-udpLen; size += 29 { // so few are no burst, however brisk
		want := bytes.Repeat([]byte{byte(size)}, size)
		_, err := here.WriteToUDPAddrPort(want, netip.AddrPortFrom(b.seen, 7))
		must(t, err)
		n, from, err := there.ReadFromUDPAddrPort(got)
		must(t, err)
		if from.Addr() != a.Local || !bytes.Equal(got[:n], want) {
			t.Fatalf("got %x from %v, want %x", got[:n], from, want)
		}
		_, err = there.WriteToUDPAddrPort(got[:n], from)
		must(t, err)
		n, err = here.Read(got)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("got %x (%v), want %x", got[:n], err, want)
		}
	}
}

// exchangeTCP has a stream go to b and back, in super-packets.
func exchangeTCP(t *testing.T, a, b *party) {
	t.Helper()
	enter(t, b.namespace)
	listener, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: b.Local.AsSlice(), Port: 7})
	must(t, err)
	defer listener.Close()
	must(t, listener.SetDeadline(time.Now().Add(patience)))
	echoed := make(chan error, 1)
	go func() {
		there, err := listener.AcceptTCP()
		if err == nil {
			_, err = io.Copy(there, there)
			there.Close()
		}
		echoed <- err
	}()
	enter(t, a.namespace)
	here, err := net.DialTCP("tcp6", nil, &net.TCPAddr{IP: b.seen.AsSlice(), Port: 7})
	must(t, err)
	defer here.Close()
	must(t, here.SetDeadline(time.Now().Add(patience)))

	want := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(want)
	sent := make(chan error, 1)
	go func() {
		_, err := here.Write(want)
		if err == nil {
			err = here.CloseWrite()
		}
		sent <- err
	}()
	got, err := io.ReadAll(here)
	must(t, err)
	must(t, <-sent)
	must(t, <-echoed)
	if !bytes.Equal(got, want) {
		t.Errorf("the stream came back changed (%d bytes of %d)", len(got), len(want))
	}
}
