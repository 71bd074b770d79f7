package netstack

import (
	"net/netip"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/teredo"
)

// segments is a peer of a host that sends TCP segments one by one.
type segments struct {
	t      *testing.T
	host   *Stack
	port   uint16
	scale  uint8  // of the host's window
	next   uint32 // sequence number of the next byte to send
	ack    uint32 // what the host has acknowledged
	edge   uint32 // up to here the host has promised to take data
	got    uint32 // the next byte that is expected of the host
	packet []tun.Packet
}

const peerScale = 7

// send sends a segment with as many bytes, and counts them.
func (s *segments) send(flags header.TCPFlags, options []byte, size int) {
	s.t.Helper()
	tcpSize := header.TCPMinimumSize + len(options) + size
	packet := make([]byte, teredo.HeaderLen+tcpSize)
	header.IPv6(packet).Encode(&header.IPv6Fields{
		PayloadLength: uint16(tcpSize), TransportProtocol: header.TCPProtocolNumber, HopLimit: 64,
		SrcAddr: tcpip.AddrFrom16(addrB.As16()), DstAddr: tcpip.AddrFrom16(addrA.As16()),
	})
	tcp := header.TCP(packet[teredo.HeaderLen:])
	tcp.Encode(&header.TCPFields{
		SrcPort: 1024, DstPort: s.port, SeqNum: s.next, AckNum: s.got, Flags: flags, WindowSize: 0x400,
		DataOffset: uint8(header.TCPMinimumSize + len(options)),
	})
	copy(tcp[header.TCPMinimumSize:], options)
	sum := header.PseudoHeaderChecksum(header.TCPProtocolNumber, tcpip.AddrFrom16(addrB.As16()), tcpip.AddrFrom16(addrA.As16()), uint16(tcpSize))
	tcp.SetChecksum(^checksum.Checksum(tcp, sum))
	if _, err := s.host.WriteBatch([][]byte{packet}); err != nil {
		s.t.Fatal(err)
	}
	s.next += uint32(size)
}

// receive takes a segment of the host. It reports whether that had data which are expected.
func (s *segments) receive() (news bool) {
	s.t.Helper()
	n, err := s.host.ReadBatch(s.packet)
	if err != nil || n != 1 {
		s.t.Fatalf("the host says nothing more: %d bytes of data until then, of %d its acknowledgements, up to %d its window: %v", s.got, s.ack, s.edge, err)
	}
	packet := append(s.packet[0].Head[:len(s.packet[0].Head):len(s.packet[0].Head)], s.packet[0].Body...)
	tcp := header.TCP(packet[teredo.HeaderLen:])
	s.ack = tcp.AckNumber()
	window := uint32(tcp.WindowSize())
	if tcp.Flags()&header.TCPFlagSyn != 0 {
		s.scale = uint8(header.ParseSynOptions(tcp.Options(), true).WS)
		s.got = tcp.SequenceNumber() + 1
	} else {
		window <<= s.scale
	}
	if edge := s.ack + window; int32(edge-s.edge) > 0 {
		s.edge = edge
	}
	size := uint32(len(tcp.Payload()))
	if news = size > 0 && tcp.SequenceNumber() == s.got; news {
		s.got += size
	}
	return news
}

// Both directions are full, and the host refuses the last bytes that its window promised. The peer's acknowledgements count
// nevertheless: the host's data go on.
func TestAcknowledgementWithoutWindow(t *testing.T) {
	host, err := New(1280)
	if err != nil {
		t.Fatal(err)
	}
	defer time.AfterFunc(patience, func() { host.Close() }).Stop()
	if err := host.SetAddress(addrA); err != nil {
		t.Fatal(err)
	}
	l, err := host.ListenTCP(netip.AddrPortFrom(netip.IPv6Unspecified(), 80))
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	defer func() { host.Close(); <-written }()
	go func() {
		defer close(written)
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write(make([]byte, 16<<20)) // it reads nothing
		}
	}()
	s := &segments{t: t, host: host, port: 80, packet: make([]tun.Packet, 1)}
	s.send(header.TCPFlagSyn, []byte{header.TCPOptionMSS, 4, 0x04, 0xc4, header.TCPOptionWS, 3, peerScale, header.TCPOptionNOP}, 0)
	s.next++
	s.receive()
	s.send(header.TCPFlagAck, nil, 0)
	for !s.receive() {
	}
	const size = 1000
	for s.edge-s.next > size {
		s.send(header.TCPFlagAck, nil, size)
		for s.ack != s.next {
			s.receive()
		}
	}
	full := s.next
	s.send(header.TCPFlagAck, nil, int(s.edge-s.next)) // less than one unit of the window: the host refuses it
	const more = 1 << 20
	for from := s.got; s.got-from < more; {
		if s.receive() {
			s.send(header.TCPFlagAck, nil, 0)
		}
	}
	if s.ack != full {
		t.Errorf("the host has taken %d bytes more: this test tests nothing", s.ack-full)
	}
}
