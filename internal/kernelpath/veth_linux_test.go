package kernelpath

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
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

// A burst of a program comes over a virtual link as one GSO packet of which only the outer headers are in the linear part. The kernel
// knows it for what it is, and leaves what follows to the program, too.
func TestVethBurst(t *testing.T) {
	w := newWire(t)
	w.attachUplink(t)
	inside := packetSocket(t, unix.SOCK_DGRAM, linkOf(t, tunName), unix.ETH_P_IPV6)
	link := packetSocket(t, unix.SOCK_RAW, w.far, unix.ETH_P_IP)
	must(t, unix.SetsockoptInt(link, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1))
	before := w.put(t, heardJustNow, true)

	const packets = 10
	single := w.swapped().ipv6(udp, make([]byte, 500))
	burst := w.answer(slices.Repeat(single, packets)) // more than a page: the kernel keeps the linear part as short as it is told
	const needsChecksum, gsoUDP = 1, 5                // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_UDP_L4
	header := []byte{needsChecksum, gsoUDP}
	for _, v := range []int{headersLen, len(single), headersLen - 8, 6} { // linear part, segment, and where the UDP header and its checksum are
		header = binary.NativeEndian.AppendUint16(header, uint16(v))
	}
	_, err := unix.Write(link, append(header, burst...))
	must(t, err)
	for get(t, w.Path, w.Flow).In.Until == 0 {
		time.Sleep(time.Millisecond)
	}
	if now := get(t, w.Path, w.Flow); now.Received != before.Received {
		t.Errorf("the kernel has carried %d packets", now.Received-before.Received)
	}
	if got := receiveNow(t, inside); got != nil {
		t.Errorf("the host gets %x", got)
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
