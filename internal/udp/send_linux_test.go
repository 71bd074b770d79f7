package udp

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
)

// needSegments skips a test where the kernel cannot send bursts.
func needSegments(t *testing.T, c *Conn) {
	t.Helper()
	if !c.gso.Load() {
		t.Skip("this kernel has no UDP_SEGMENT")
	}
}

func sized(to netip.AddrPort, sizes ...int) []Message {
	ms := make([]Message, len(sizes))
	for i, size := range sizes {
		ms[i] = message(to, i, size)
	}
	return ms
}

func TestBurst(t *testing.T) {
	a, b := netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("192.0.2.1:2")
	for _, test := range []struct {
		name string
		ms   []Message
		want int
	}{
		{"one", sized(a, 10), 1},
		{"equal", sized(a, 10, 10, 10), 3},
		{"the last shorter", sized(a, 10, 10, 9), 3},
		{"nothing follows a shorter one", sized(a, 10, 10, 9, 9), 3},
		{"nothing larger", sized(a, 10, 11), 1},
		{"another port", append(sized(a, 10, 10), sized(b, 10)...), 2},
		{"nothing empty at the end", sized(a, 10, 0), 1},
		{"nothing empty at the head", sized(a, 0, 0), 1},
		{"64 segments", messages(a, 100, 10), 64},
		{"shorter beyond 64 segments", append(messages(a, 64, 10), sized(a, 5)...), 64},
		{"as much as one IPv4 packet", sized(a, 65000, 507), 2},
		{"more than one IPv4 packet", sized(a, 65000, 508), 1},
		{"51 of 1280 bytes", messages(a, 64, 1280), 51},
	} {
		if got := burst(test.ms); got != test.want {
			t.Errorf("%s: %d messages in the burst, want %d", test.name, got, test.want)
		}
	}
}

// receive has the receiver read what is there.
func receive(t *testing.T, c *Conn) {
	t.Helper()
	onSocket(t, c, func(fd int) error {
		if !c.receiver.receive(fd) {
			return unix.EAGAIN
		}
		if c.receiver.errno != 0 {
			return c.receiver.errno
		}
		return nil
	})
}

// A burst crosses the stack as one unit. On loopback it also arrives as one.
func TestBurstIsOneUnit(t *testing.T) {
	tx, rx := open(t), open(t)
	needSegments(t, tx)
	ms := messages(rx.LocalAddr(), 51, 1280)
	write(t, tx, ms)
	receive(t, rx)
	if rx.receiver.filled != 1 {
		t.Errorf("51 datagrams arrived as %d units, want 1", rx.receiver.filled)
	}
	expect(t, rx, tx.LocalAddr(), 16, ms)
}

// Without checksums the kernel refuses UDP_SEGMENT, with EINVAL: the
// datagrams go out singly, in order, and those around them are unaffected.
func TestRefusedBurst(t *testing.T) {
	tx, rx, other := open(t), open(t), open(t)
	needSegments(t, tx)
	setOption(t, tx, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)

	ms := slices.Concat(
		sized(rx.LocalAddr(), 5, 100, 100, 100, 40, 7),
		messages(rx.LocalAddr(), 70, 300),
		messages(rx.LocalAddr(), 70, 200),
	)
	unreachable := message(netip.MustParseAddrPort("255.255.255.255:9"), 0, 10)
	elsewhere := message(other.LocalAddr(), 0, 30)
	n, err := tx.WriteBatch(slices.Concat(ms[:4], []Message{unreachable, elsewhere, {}, elsewhere}, ms[4:]))
	if n != len(ms)+2 || err != unix.EACCES {
		t.Errorf("WriteBatch = %d, %v; want %d and the first refusal, EACCES", n, err, len(ms)+2)
	}
	expect(t, rx, tx.LocalAddr(), 16, ms)
	expect(t, other, tx.LocalAddr(), 16, []Message{elsewhere, elsewhere})
	if !tx.gso.Load() {
		t.Error("UDP_SEGMENT was given up after EINVAL")
	}
}

// EIO means that bursts cannot be sent at all. None are tried any more, unless they are asked for.
func TestBurstsImpossible(t *testing.T) {
	for _, test := range []struct {
		mode offload.Mode
		then bool
	}{{offload.Auto, false}, {offload.On, true}} {
		tx, rx := openWith(t, Options{GSO: test.mode}), open(t)
		needSegments(t, tx)
		s := tx.senders.Get().(*sender)
		s.errno = unix.EIO
		s.burstRefused()
		tx.senders.Put(s)
		if got := tx.Offloads().GSO; got != test.then {
			t.Fatalf("%v: UDP_SEGMENT in use after EIO is %v", test.mode, got)
		}
		ms := messages(rx.LocalAddr(), 10, 100)
		write(t, tx, ms)
		if !test.then {
			receive(t, rx)
			if rx.receiver.filled != len(ms) {
				t.Errorf("%d datagrams arrived as %d units", len(ms), rx.receiver.filled)
			}
		}
		expect(t, rx, tx.LocalAddr(), 16, ms)
	}
}

// With its offloads off a socket carries the same, one by one.
func TestOffloadsOff(t *testing.T) {
	off := Options{GSO: offload.Off, GRO: offload.Off}
	tx, rx := openWith(t, off), openWith(t, off)
	if tx.Offloads() != (Offloads{}) {
		t.Errorf("offloads in use: %+v", tx.Offloads())
	}
	ms := messages(rx.LocalAddr(), 10, 100)
	write(t, tx, ms)
	receive(t, rx)
	if rx.receiver.filled != len(ms) {
		t.Errorf("%d datagrams arrived as %d units", len(ms), rx.receiver.filled)
	}
	expect(t, rx, tx.LocalAddr(), 16, ms)
}

// With its send buffer full of datagrams that wait for ARP, WriteBatch waits
// for room, and sends everything.
func TestWaitForRoom(t *testing.T) {
	neverAnswers := slowNeighbour(t, "10")
	tx := openAny(t)
	setOption(t, tx, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	write(t, tx, sized(neverAnswers, 1280, 1279, 1280, 1279, 1280, 1280, 1279, 1280, 1280, 1280))
}

func TestCloseWhileWaitingForRoom(t *testing.T) {
	neverAnswers := slowNeighbour(t, "60000")
	tx := openAny(t)
	setOption(t, tx, unix.SOL_SOCKET, unix.SO_SNDBUF, 1)
	done := make(chan error)
	go func() {
		_, err := tx.WriteBatch(messages(neverAnswers, 128, 1280))
		done <- err
	}()
	if err := tx.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("WriteBatch during Close: %v, want net.ErrClosed", err)
	}
}

func openAny(t *testing.T) *Conn {
	t.Helper()
	c, err := Listen(netip.MustParseAddrPort("0.0.0.0:0"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// slowNeighbour makes an Ethernet where nobody answers ARP, and returns an
// address there. The kernel keeps datagrams for it for three times retry
// (milliseconds), and charges them to the socket.
func slowNeighbour(t *testing.T, retry string) netip.AddrPort {
	t.Helper()
	newNamespace(t)
	tap, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("no TAP devices:", err)
	}
	t.Cleanup(func() { unix.Close(tap) })
	request, err := unix.NewIfreq("tap0")
	if err != nil {
		t.Fatal(err)
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tap, unix.TUNSETIFF, request); err != nil {
		t.Fatal(err)
	}
	if err := request.SetInet4Addr([]byte{192, 0, 2, 1}); err != nil {
		t.Fatal(err)
	}
	configure(t, unix.SIOCSIFADDR, request)
	request.SetUint16(unix.IFF_UP)
	configure(t, unix.SIOCSIFFLAGS, request)
	if err := os.WriteFile("/proc/sys/net/ipv4/neigh/tap0/retrans_time_ms", []byte(retry), 0); err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort("192.0.2.2:3544")
}
