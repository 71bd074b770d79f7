//go:build linux

package population

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"

	"github.com/teredo-suite/teredo/teredo"
)

// Burst is how many datagrams one system call receives or sends.
const Burst = 64

const (
	udpLen  = 8
	udpNext = 17 // protocol number
)

// parse takes an IPv4 packet apart whose payload is UDP. A fragment is refused.
func parse(packet []byte) (from, to netip.AddrPort, payload []byte, ok bool) {
	if len(packet) < ipv4.HeaderLen {
		return from, to, nil, false
	}
	size := int(packet[0]&15) * 4
	fragment := binary.BigEndian.Uint16(packet[6:])&0x3fff != 0
	if packet[9] != udpNext || fragment || len(packet) < size+udpLen {
		return from, to, nil, false
	}
	udp := packet[size:]
	from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[12:])), binary.BigEndian.Uint16(udp))
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(packet[16:])), binary.BigEndian.Uint16(udp[2:]))
	return from, to, udp[udpLen:], true
}

// letters are datagrams that are about to be sent, with their IPv4 headers.
type letters struct {
	messages []ipv4.Message
	n        int
}

// add adds a datagram whose payload write appends.
func (l *letters) add(from, to netip.AddrPort, write func([]byte) []byte) {
	if l.n == len(l.messages) {
		l.messages = append(l.messages, ipv4.Message{Buffers: [][]byte{nil}, Addr: &net.IPAddr{IP: make(net.IP, 4)}})
	}
	m := &l.messages[l.n]
	l.n++
	b := append(m.Buffers[0][:0], 0x45, 0, 0, 0, 0, 0, 0, 0, 64, udpNext, 0, 0) // the kernel fills in lengths and checksum
	source, destination := from.Addr().As4(), to.Addr().As4()
	b = append(append(b, source[:]...), destination[:]...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = write(append(b, 0, 0, 0, 0)) // no UDP checksum
	binary.BigEndian.PutUint16(b[ipv4.HeaderLen+4:], uint16(len(b)-ipv4.HeaderLen))
	m.Buffers[0] = b
	copy(m.Addr.(*net.IPAddr).IP, destination[:])
}

// send sends the datagrams and makes room for others.
func (l *letters) send(conn *ipv4.PacketConn) error {
	rest := l.messages[:l.n]
	l.n = 0
	for len(rest) > 0 {
		n, err := conn.WriteBatch(rest, 0)
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// udpPort is the destination port of a UDP datagram in an IPv6 packet, and 0 for every other packet.
func udpPort(ipv6 []byte) uint16 {
	if teredo.NextHeader(ipv6) != udpNext || len(ipv6) < teredo.HeaderLen+udpLen {
		return 0
	}
	return binary.BigEndian.Uint16(ipv6[teredo.HeaderLen+2:])
}

// appendReturned appends a UDP datagram on its way back to its sender. Its checksum stays as it is: it is a sum in which addresses and
// ports have only changed places.
func appendReturned(b, ipv6 []byte) []byte {
	at := len(b)
	b = append(b, ipv6...)
	back := b[at:]
	teredo.PutHopLimit(back, teredo.DefaultHopLimit)
	copy(teredo.SourceBytes(back), teredo.DestinationBytes(ipv6))
	copy(teredo.DestinationBytes(back), teredo.SourceBytes(ipv6))
	copy(back[teredo.HeaderLen:], ipv6[teredo.HeaderLen+2:teredo.HeaderLen+4])
	copy(back[teredo.HeaderLen+2:], ipv6[teredo.HeaderLen:teredo.HeaderLen+2])
	return b
}
