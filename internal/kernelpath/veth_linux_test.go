package kernelpath

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/teredo"
)

// Packets from the wire come out of the tunnel, but for those that are too short for what they claim to be.
func TestVeth(t *testing.T) {
	w := newWire(t)
	w.attachUplink(t)
	inside := packetSocket(t, unix.SOCK_DGRAM, linkOf(t, tunName), unix.ETH_P_IPV6)
	before := w.put(t, heardJustNow, true)
	frame := w.answer(w.swapped().ipv6(udp, []byte("test packet")))
	for size := ethernetLen; size < headersLen+teredo.HeaderLen; size++ {
		_, err := unix.Write(w.link, frame[:size])
		must(t, err)
	}
	_, err := unix.Write(w.link, frame)
	must(t, err)
	if got := receive(t, inside); !bytes.Equal(got, frame[headersLen:]) {
		t.Errorf("got  %x\nwant %x", got, frame[headersLen:])
	}
	if now := get(t, w.Path, w.Flow); now.Received != before.Received+1 {
		t.Errorf("received %d packets", now.Received-before.Received)
	}
}

// Close gives everything back to the program.
func TestClose(t *testing.T) {
	w := newLink(t)
	socket, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(w.ends.near))
	must(t, err)
	defer socket.Close()
	must(t, socket.SetReadDeadline(time.Now().Add(patience)))
	outside := packetSocket(t, unix.SOCK_DGRAM, linkOf(t, tunName), unix.ETH_P_ALL)
	path, err := Open(tunName, w.ends.near, 16, nil, quiet)
	must(t, err)
	w.Path = path
	w.attachUplink(t)
	w.put(t, heardJustNow, true)

	out, in := w.ipv6(udp, []byte("out")), w.swapped().ipv6(udp, []byte("in"))
	must(t, w.Send(out))
	receive(t, w.link)
	_, err = unix.Write(w.link, w.answer(in))
	must(t, err)
	receive(t, outside)

	must(t, path.Close())
	to := &unix.SockaddrLinklayer{Ifindex: path.tun, Protocol: networkOrder(unix.ETH_P_IPV6)}
	must(t, unix.Sendto(outside, out, 0, to))
	if got := receive(t, w.tun); !bytes.Equal(got, out) {
		t.Errorf("the program gets %x\nwant             %x", got, out)
	}
	_, err = unix.Write(w.link, w.answer(in))
	must(t, err)
	got := make([]byte, 2048)
	n, from, err := socket.ReadFromUDPAddrPort(got)
	if err != nil || from != w.ends.far || !bytes.Equal(got[:n], in) {
		t.Errorf("the program gets %x from %v (%v)\nwant             %x", got[:n], from, err, in)
	}
}
