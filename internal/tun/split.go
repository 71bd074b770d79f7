package tun

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is returned for what the kernel should never hand over: a super-packet that contradicts itself.
var ErrMalformed = errors.New("malformed super-packet")

// maxHead is room for the headers of a segment.
const maxHead = 256

// splitter cuts a super-packet into the packets that it stands for. It holds the rest of one that had more segments than
// there was room for.
type splitter struct {
	header  virtio
	packet  []byte // headers, and the payload of all segments
	at      int    // in packet: the payload of the next segment
	index   uint32 // number of the next segment
	headLen int
	base    uint64 // sum of the pseudo-header without the length
}

// pending reports whether next has more packets.
func (s *splitter) pending() bool { return s.at < len(s.packet) }

// start takes what was read: a virtio header and a packet. The packet is used until next has returned all of it.
func (s *splitter) start(unit []byte) error {
	s.packet, s.at = nil, 0
	if len(unit) < virtioLen {
		return ErrMalformed
	}
	h, packet := parseVirtio(unit), unit[virtioLen:]
	if h.gso == gsoNone {
		if h.flags&needsChecksum != 0 && !complete(packet, int(h.sumStart), int(h.sumAtOffset)) {
			return ErrMalformed
		}
		s.header, s.packet = h, packet
		return nil
	}
	protocol, headLen, ok := segmented(h, packet)
	if !ok {
		return ErrMalformed
	}
	s.header, s.packet, s.at, s.index, s.headLen = h, packet, headLen, 0, headLen
	s.base = pseudoHeader(packet, protocol)
	return nil
}

// complete puts the checksum in place. Its field holds what is to be added: the sum of the pseudo-header.
func complete(packet []byte, start, offset int) bool {
	if start+offset+2 > len(packet) {
		return false
	}
	field := packet[start+offset:]
	// The pseudo-header's sum is part of the sum over the packet, as it is in the field.
	putChecksum(field, sum(packet[start:], 0), offset == udpChecksum)
	return true
}

// putChecksum puts the complement of a sum into a checksum field. Of UDP, 0 stands for no checksum.
func putChecksum(field []byte, acc uint64, udp bool) {
	c := ^fold(acc)
	if c == 0 && udp {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(field, c)
}

// segmented checks a super-packet and finds the length of its headers. The kernel's own figure is not what it seems
// where packets are forwarded.
func segmented(h virtio, packet []byte) (protocol uint8, headLen int, ok bool) {
	start := int(h.sumStart)
	if len(packet) < ipv6HeaderLen || packet[0]>>4 != 6 || start < ipv6HeaderLen || h.gsoSize == 0 {
		return 0, 0, false
	}
	switch {
	case h.gso == gsoTCP6 && h.sumAtOffset == tcpChecksum && len(packet) >= start+tcpHeaderLen:
		headLen = start + int(packet[start+tcpDataOffset]>>4)*4
		protocol, ok = protocolTCP, headLen >= start+tcpHeaderLen
	case h.gso == gsoUDP && h.sumAtOffset == udpChecksum && len(packet) >= start+udpHeaderLen:
		protocol, headLen, ok = protocolUDP, start+udpHeaderLen, true
	}
	return protocol, headLen, ok && headLen <= maxHead && headLen < len(packet)
}

// next fills ps with the next packets, whose heads are put into heads, and returns how many.
func (s *splitter) next(ps []Packet, heads [][maxHead]byte) (n int) {
	if s.header.gso == gsoNone {
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

// adapt makes the super-packet's headers those of one segment.
func (s *splitter) adapt(head, body []byte) {
	start := int(s.header.sumStart)
	binary.BigEndian.PutUint16(head[4:], uint16(len(head)-ipv6HeaderLen+len(body)))
	transport := head[start:]
	length := uint16(len(transport) + len(body))
	if s.header.gso == gsoUDP {
		binary.BigEndian.PutUint16(transport[udpLength:], length)
	} else {
		sequence := binary.BigEndian.Uint32(transport[tcpSequence:]) + s.index*uint32(s.header.gsoSize)
		binary.BigEndian.PutUint32(transport[tcpSequence:], sequence)
		if s.pending() {
			transport[tcpFlags] &^= flagFIN | flagPSH // of the last one
		}
	}
	field := transport[s.header.sumAtOffset:]
	field[0], field[1] = 0, 0
	acc := sum(transport, sumWord(length, s.base))
	putChecksum(field, sum(body, acc), s.header.gso == gsoUDP)
}
