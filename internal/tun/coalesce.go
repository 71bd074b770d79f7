package tun

import (
	"bytes"
	"encoding/binary"
)

const (
	maxPieces = 128 // packets of one batch, and of one run
	nearby    = 8   // runs among which the flow of a packet is looked for
)

// run is a super-packet in the making: packets of one flow that follow each other. Its fields are those of the last
// packet, unless they are the same for all.
type run struct {
	first, last int // packets, by their place in the batch
	pieces      int
	payload     int    // bytes, of all packets
	size        int    // payload of each packet but the last
	headLen     int    // IPv6 and TCP or UDP header
	next        uint32 // TCP: the sequence number that may follow
	protocol    uint8  // 0: the packet goes alone
	open        bool   // more may follow
	checked     bool   // the checksum of the first packet was found right
}

// coalescer puts the packets of a batch together to runs. The order of the packets of a flow stays.
type coalescer struct {
	udp     bool // of UDP flows too
	packets [][]byte
	runs    [maxPieces]run
	n       int
	after   [maxPieces]int // packet that follows in the run
}

// gather takes a batch of up to maxPieces packets; runs[:n] is what comes of it.
func (c *coalescer) gather(packets [][]byte) {
	c.packets, c.n = packets, 0
	for i, packet := range packets {
		r, ok := c.classify(packet)
		r.first, r.last, r.pieces = i, i, 1
		if ok {
			if old := c.sameFlow(packet); old != nil {
				if old.open && c.join(old, &r, packet) {
					continue
				}
				old.open = false // what comes later must not overtake this packet
			}
		}
		c.runs[c.n] = r
		c.n++
	}
}

// classify describes a packet as a run of its own. It may get company if it is a TCP segment with data and no flags but
// ACK, PSH and ECE, or a UDP datagram; ok says that it has a flow at all.
func (c *coalescer) classify(p []byte) (r run, ok bool) {
	if len(p) < ipv6HeaderLen+udpHeaderLen || p[0]>>4 != 6 || int(binary.BigEndian.Uint16(p[4:])) != len(p)-ipv6HeaderLen {
		return run{}, false
	}
	transport := p[ipv6HeaderLen:]
	switch {
	case p[6] == protocolTCP && len(transport) >= tcpHeaderLen:
		r.headLen = ipv6HeaderLen + int(transport[tcpDataOffset]>>4)*4
		r.payload = len(p) - r.headLen
		if r.headLen < ipv6HeaderLen+tcpHeaderLen || r.payload <= 0 || transport[tcpFlags]&^(flagPSH|flagECE) != flagACK {
			return run{}, true
		}
		r.protocol, r.open = protocolTCP, transport[tcpFlags]&flagPSH == 0
		r.next = binary.BigEndian.Uint32(transport[tcpSequence:]) + uint32(r.payload)
	case p[6] == protocolUDP && c.udp:
		r.headLen = ipv6HeaderLen + udpHeaderLen
		r.payload = len(p) - r.headLen
		if r.payload == 0 || int(binary.BigEndian.Uint16(transport[udpLength:])) != len(transport) {
			return run{}, true
		}
		r.protocol, r.open = protocolUDP, true
	default:
		return run{}, false
	}
	r.size = r.payload
	return r, true
}

// sameFlow finds the last one of the latest runs that has the addresses, protocol and ports of a packet.
func (c *coalescer) sameFlow(p []byte) *run {
	for i := c.n - 1; i >= max(0, c.n-nearby); i-- {
		r := &c.runs[i]
		q := c.packets[r.first]
		if len(q) >= ipv6HeaderLen+4 && q[6] == p[6] && bytes.Equal(q[8:ipv6HeaderLen+4], p[8:ipv6HeaderLen+4]) {
			return r
		}
	}
	return nil
}

// join adds a packet, described by p, to a run if a receiver would see no difference.
func (c *coalescer) join(r, p *run, packet []byte) bool {
	head := c.packets[r.first]
	if p.protocol != r.protocol || p.size > r.size || r.payload+p.size+r.headLen-ipv6HeaderLen > maxPayload ||
		!bytes.Equal(head[:4], packet[:4]) || head[7] != packet[7] { // traffic class, flow label, hop limit
		return false
	}
	if r.protocol == protocolTCP && !(sameTCP(head, packet, r, p) && p.next-uint32(p.size) == r.next) {
		return false
	}
	if !r.checked && !intact(head, r.protocol) {
		return false
	}
	r.checked = true
	if !intact(packet, r.protocol) {
		return false
	}
	c.after[r.last] = p.first
	r.last = p.first
	r.pieces++
	r.payload += p.size
	r.next = p.next
	r.open = p.open && p.size == r.size
	return true
}

// sameTCP reports whether two segments have the same acknowledgement, flags but PSH, and options.
func sameTCP(a, b []byte, ra, rb *run) bool {
	const at = ipv6HeaderLen
	return ra.headLen == rb.headLen &&
		bytes.Equal(a[at+tcpAck:at+tcpAck+4], b[at+tcpAck:at+tcpAck+4]) &&
		(a[at+tcpFlags]^b[at+tcpFlags])&^flagPSH == 0 &&
		bytes.Equal(a[at+tcpHeaderLen:ra.headLen], b[at+tcpHeaderLen:rb.headLen])
}

// intact reports whether the checksum of a packet without extension headers is right. A super-packet gets a new one, which
// must not hide that the old one was wrong. UDP without a checksum is not allowed in IPv6 (RFC 8200 §8.1).
func intact(p []byte, protocol uint8) bool {
	transport := p[ipv6HeaderLen:]
	if protocol == protocolUDP && transport[udpChecksum] == 0 && transport[udpChecksum+1] == 0 {
		return false
	}
	return fold(sum(transport, sumWord(uint16(len(transport)), pseudoHeader(p, protocol)))) == 0xffff
}

// finish turns the first packet of a run into the head of a super-packet and returns its virtio header. The checksum field
// gets the sum of the pseudo-header; the kernel does the rest, if it is needed at all.
func (c *coalescer) finish(r *run) virtio {
	if r.pieces == 1 {
		return virtio{}
	}
	p := c.packets[r.first]
	transport := p[ipv6HeaderLen:]
	length := uint16(r.headLen - ipv6HeaderLen + r.payload)
	binary.BigEndian.PutUint16(p[4:], length)
	h := virtio{
		flags: needsChecksum, headLen: uint16(r.headLen), gsoSize: uint16(r.size), sumStart: ipv6HeaderLen,
		gso: gsoTCP6, sumAtOffset: tcpChecksum,
	}
	if r.protocol == protocolUDP {
		h.gso, h.sumAtOffset = gsoUDP, udpChecksum
		binary.BigEndian.PutUint16(transport[udpLength:], length)
	} else {
		transport[tcpFlags] |= c.packets[r.last][ipv6HeaderLen+tcpFlags] & flagPSH
	}
	binary.BigEndian.PutUint16(transport[h.sumAtOffset:], fold(sumWord(length, pseudoHeader(p, r.protocol))))
	return h
}
