package tun

import (
	"encoding/binary"
	"errors"

	"github.com/teredo-suite/teredo/teredo"
)

// ErrMalformed is the error for a super-packet that contradicts its virtio header. The kernel should never hand one over.
var ErrMalformed = errors.New("malformed super-packet")

// maxHead is room for the headers of a segment.
const maxHead = 256

// segmenter cuts a super-packet into the packets that it stands for. It keeps the rest of one that had more segments than
// there was room for.
type segmenter struct {
	header  virtioNetHdr
	packet  []byte // headers, and the payload of all segments
	at      int    // in packet: the payload of the next segment
	index   uint32 // number of the next segment
	headLen int
	base    uint64 // sum of the pseudo-header without the length
}

// pending reports whether next has more packets.
func (s *segmenter) pending() bool { return s.at < len(s.packet) }

// start takes what was read: a virtio header and a packet.
func (s *segmenter) start(unit []byte) error {
	if len(unit) < virtioLen {
		s.packet, s.at = nil, 0
		return ErrMalformed
	}
	return s.begin(parseVirtioNetHdr(unit), unit[virtioLen:])
}

// begin takes a packet, which is used until next has returned all of it.
func (s *segmenter) begin(h virtioNetHdr, packet []byte) error {
	s.packet, s.at = nil, 0
	if h.gsoType == gsoNone {
		if h.flags&needsCsum != 0 && !completeChecksum(packet, int(h.csumStart), int(h.csumOffset)) {
			return ErrMalformed
		}
		s.header, s.packet = h, packet
		return nil
	}
	protocol, headLen, ok := checkSuperPacket(h, packet)
	if !ok {
		return ErrMalformed
	}
	s.header, s.packet, s.at, s.index, s.headLen = h, packet, headLen, 0, headLen
	s.base = pseudoHeader(packet, protocol)
	return nil
}

// completeChecksum computes the checksum of a packet that is CHECKSUM_PARTIAL.
func completeChecksum(packet []byte, start, offset int) bool {
	if start+offset+2 > len(packet) {
		return false
	}
	field := packet[start+offset:]
	// The field holds the sum of the pseudo-header, so the sum over the packet includes it.
	putChecksum(field, sum(packet[start:], 0), offset == udpChecksum)
	return true
}

// putChecksum puts the complement of a sum into a checksum field. In UDP, 0 stands for no checksum.
func putChecksum(field []byte, acc uint64, udp bool) {
	c := ^fold(acc)
	if c == 0 && udp {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(field, c)
}

// checkSuperPacket checks a super-packet against its virtio header and finds the length of its headers. It does not use
// hdrLen, which is wrong in packets that the kernel forwards.
func checkSuperPacket(h virtioNetHdr, packet []byte) (protocol uint8, headLen int, ok bool) {
	start := int(h.csumStart)
	if len(packet) < teredo.HeaderLen || packet[0]>>4 != 6 || start < teredo.HeaderLen || h.gsoSize == 0 {
		return 0, 0, false
	}
	switch {
	case h.gsoType == gsoTCPv6 && h.csumOffset == tcpChecksum && len(packet) >= start+tcpHeaderLen:
		headLen = start + int(packet[start+tcpDataOffset]>>4)*4
		protocol, ok = protocolTCP, headLen >= start+tcpHeaderLen
	case h.gsoType == gsoUDPL4 && h.csumOffset == udpChecksum && len(packet) >= start+udpHeaderLen:
		protocol, headLen, ok = protocolUDP, start+udpHeaderLen, true
	}
	return protocol, headLen, ok && headLen <= maxHead && headLen < len(packet)
}

// next fills ps with the next packets and returns how many. Their headers are put into heads.
func (s *segmenter) next(ps []Packet, heads [][maxHead]byte) (n int) {
	if s.header.gsoType == gsoNone {
		ps[0] = Packet{Head: s.packet}
		s.packet = nil
		return 1
	}
	for n < len(ps) && s.pending() {
		end := min(s.at+int(s.header.gsoSize), len(s.packet))
		body := s.packet[s.at:end]
		s.at = end
		head := heads[n][:s.headLen]
		copy(head, s.packet)
		s.adapt(head, body)
		ps[n] = Packet{Head: head, Body: body}
		s.index++
		n++
	}
	return n
}

// adapt turns the headers of the super-packet into those of one segment.
func (s *segmenter) adapt(head, body []byte) {
	teredo.PutPayloadLen(head, len(head)-teredo.HeaderLen+len(body))
	transport := head[s.header.csumStart:]
	length := uint16(len(transport) + len(body))
	if s.header.gsoType == gsoUDPL4 {
		binary.BigEndian.PutUint16(transport[udpLength:], length)
	} else {
		sequence := binary.BigEndian.Uint32(transport[tcpSequence:]) + s.index*uint32(s.header.gsoSize)
		binary.BigEndian.PutUint32(transport[tcpSequence:], sequence)
		if s.pending() {
			transport[tcpFlags] &^= flagFIN | flagPSH // only the last segment has them
		}
	}
	field := transport[s.header.csumOffset:]
	field[0], field[1] = 0, 0
	acc := sum(transport, sumWord(length, s.base))
	putChecksum(field, sum(body, acc), s.header.gsoType == gsoUDPL4)
}
