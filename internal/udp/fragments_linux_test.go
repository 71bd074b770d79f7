package udp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// ECN-05: each fragment has the TOS field that the whole datagram would have had, 0; none has the Don't Fragment bit.
func TestFragmentsNotMarked(t *testing.T) {
	smallLoopback(t, 1000)
	wire := listenToWire(t)
	tx, rx := open(t), open(t)
	ms := messages(rx.LocalAddr(), 3, 1280)
	write(t, tx, ms)
	expect(t, rx, tx.LocalAddr(), 16, ms)

	fragments := 0
	for header := make([]byte, 20); fragments < 2*len(ms); {
		if _, err := unix.Read(wire, header); err != nil {
			t.Fatalf("after %d fragments: %v", fragments, err)
		}
		if header[9] != unix.IPPROTO_UDP {
			continue
		}
		const dontFragment, moreFragments, offset = 0x4000, 0x2000, 0x1fff
		flags := binary.BigEndian.Uint16(header[6:])
		if flags&(moreFragments|offset) == 0 {
			t.Fatalf("a whole datagram, where fragments were to be seen: %x", header)
		}
		if header[1] != 0 || flags&dontFragment != 0 {
			t.Errorf("fragment with TOS %#x and flags %#x", header[1], flags)
		}
		fragments++
	}
}

// listenToWire returns a socket that sees all IPv4 packets of the namespace, from the IPv4 header on.
func listenToWire(t *testing.T) (fd int) {
	t.Helper()
	ipv4 := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_IP))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(ipv4))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	timeout := unix.Timeval{Sec: 60}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	return fd
}
