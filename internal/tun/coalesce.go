package tun

import (
	"bytes"
	"encoding/binary"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	maxBatch = 128 // packets of one batch, and segments of one super-packet
	lookBack = 8   // super-packets in which a packet's flow is searched for
)

// superPacket is a super-packet that is being put together from consecutive packets of one flow, or a packet that stays
// alone. Fields that segments do not share are those of the last one.
type superPacket struct {
	first, last int // segments, by their index in the batch
	segments    int
	payload     int    // bytes, of all segments
	gsoSize     int    // payload of each segment but the last
	headLen     int    // IPv6 and TCP or UDP header
	next        uint32 // TCP: the sequence number that may follow
	protocol    uint8  // 0: the packet stays alone
	open        bool   // more segments may follow
	checked     bool   // the checksum of the first segment was found right
}

// coalescer puts the packets of a batch together to super-packets. The order of the packets of a flow stays.
type coalescer struct {
	udp          bool // UDP flows, too
	packets      [][]byte
	superPackets [maxBatch]superPacket
	n            int           // superPackets in use
	after        [maxBatch]int // for each packet, the next segment of its super-packet
}

// coalesce takes a batch of up to maxBatch packets. The result is superPackets[:n].
func (c *coalescer) coalesce(packets [][]byte) {
	c.packets, c.n = packets, 0
	for i, packet := range packets {
		s, ok := c.classify(packet)
		s.first, s.last, s.segments = i, i, 1
		if ok {
			if old := c.sameFlow(packet); old != nil {
				if old.open && c.join(old, &s, packet) {
					continue
				}
				old.open = false // what comes later must not overtake this packet
			}
		}
		c.superPackets[c.n] = s
		c.n++
	}
}

// classify describes a packet as a super-packet of one segment. Others may join it if it is a TCP segment with data and no
// flags but ACK, PSH and ECE, or a UDP datagram. ok tells whether it belongs to a flow at all.
func (c *coalescer) classify(p []byte) (s superPacket, ok bool) {
	if len(p) < teredo.HeaderLen+udpHeaderLen || teredo.CheckIPv6(p) != nil {
		return superPacket{}, false
	}
	transport := p[teredo.HeaderLen:]
	switch next := teredo.NextHeader(p); {
	case next == protocolTCP && len(transport) >= tcpHeaderLen:
		s.headLen = teredo.HeaderLen + int(transport[tcpDataOffset]>>4)*4
		s.payload = len(p) - s.headLen
		if s.headLen < teredo.HeaderLen+tcpHeaderLen || s.payload <= 0 || transport[tcpFlags]&^(flagPSH|flagECE) != flagACK {
			return superPacket{}, true
		}
		s.protocol, s.open = protocolTCP, transport[tcpFlags]&flagPSH == 0
		s.next = binary.BigEndian.Uint32(transport[tcpSequence:]) + uint32(s.payload)
	case next == protocolUDP && c.udp:
		s.headLen = teredo.HeaderLen + udpHeaderLen
		s.payload = len(p) - s.headLen
		if s.payload == 0 || int(binary.BigEndian.Uint16(transport[udpLength:])) != len(transport) {
			return superPacket{}, true
		}
		s.protocol, s.open = protocolUDP, true
	default:
		return superPacket{}, false
	}
	s.gsoSize = s.payload
	return s, true
}

// sameFlow returns the latest super-packet with the addresses, protocol and ports of a packet. It searches the last few only.
func (c *coalescer) sameFlow(p []byte) *superPacket {
	for i := c.n - 1; i >= max(0, c.n-lookBack); i-- {
		s := &c.superPackets[i]
		q := c.packets[s.first]
		if len(q) >= teredo.HeaderLen+portsLen && teredo.NextHeader(q) == teredo.NextHeader(p) &&
			[portsLen]byte(q[teredo.HeaderLen:]) == [portsLen]byte(p[teredo.HeaderLen:]) &&
			bytes.Equal(teredo.AddressBytes(q), teredo.AddressBytes(p)) {
			return s
		}
	}
	return nil
}

// join adds a packet, described by p, to a super-packet if the receiver would see no difference.
func (c *coalescer) join(s, p *superPacket, packet []byte) bool {
	head := c.packets[s.first]
	if p.protocol != s.protocol || p.gsoSize > s.gsoSize || s.payload+p.gsoSize+s.headLen-teredo.HeaderLen > maxPayload ||
		teredo.ClassAndLabel(head) != teredo.ClassAndLabel(packet) || teredo.HopLimit(head) != teredo.HopLimit(packet) {
		return false
	}
	if s.protocol == protocolTCP && !(sameTCP(head, packet, s, p) && p.next-uint32(p.gsoSize) == s.next) {
		return false
	}
	if !s.checked && !intact(head, s.protocol) {
		return false
	}
	s.checked = true
	if !intact(packet, s.protocol) {
		return false
	}
	c.after[s.last] = p.first
	s.last = p.first
	s.segments++
	s.payload += p.gsoSize
	s.next = p.next
	s.open = p.open && p.gsoSize == s.gsoSize
	return true
}

// sameTCP reports whether two segments have the same acknowledgement number, options, and flags except PSH.
func sameTCP(a, b []byte, sa, sb *superPacket) bool {
	const at = teredo.HeaderLen
	return sa.headLen == sb.headLen &&
		bytes.Equal(a[at+tcpAck:at+tcpAck+4], b[at+tcpAck:at+tcpAck+4]) &&
		(a[at+tcpFlags]^b[at+tcpFlags])&^flagPSH == 0 &&
		bytes.Equal(a[at+tcpHeaderLen:sa.headLen], b[at+tcpHeaderLen:sb.headLen])
}

// intact reports whether the checksum of a packet without extension headers is right. A super-packet gets a new checksum,
// which must not hide that an old one was wrong. UDP without a checksum is not allowed in IPv6 (RFC 8200 §8.1).
func intact(p []byte, protocol uint8) bool {
	transport := p[teredo.HeaderLen:]
	if protocol == protocolUDP && transport[udpChecksum] == 0 && transport[udpChecksum+1] == 0 {
		return false
	}
	return fold(sum(transport, sumWord(uint16(len(transport)), pseudoHeader(p, protocol)))) == 0xffff
}

// prepare turns the first segment into the head of its super-packet, as CHECKSUM_PARTIAL, and returns the virtio header. The
// kernel completes the checksum if it is needed at all.
func (c *coalescer) prepare(s *superPacket) virtioNetHdr {
	if s.segments == 1 {
		return virtioNetHdr{}
	}
	p := c.packets[s.first]
	transport := p[teredo.HeaderLen:]
	length := uint16(s.headLen - teredo.HeaderLen + s.payload)
	teredo.PutPayloadLen(p, int(length))
	h := virtioNetHdr{
		flags: needsCsum, hdrLen: uint16(s.headLen), gsoSize: uint16(s.gsoSize), csumStart: teredo.HeaderLen,
		gsoType: gsoTCPv6, csumOffset: tcpChecksum,
	}
	if s.protocol == protocolUDP {
		h.gsoType, h.csumOffset = gsoUDPL4, udpChecksum
		binary.BigEndian.PutUint16(transport[udpLength:], length)
	} else {
		transport[tcpFlags] |= c.packets[s.last][teredo.HeaderLen+tcpFlags] & flagPSH
	}
	binary.BigEndian.PutUint16(transport[h.csumOffset:], fold(sumWord(length, pseudoHeader(p, s.protocol))))
	return h
}
