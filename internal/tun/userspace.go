package tun

import "github.com/teredo-suite/teredo/teredo"

// Splitter cuts TCP super-packets of a stack in user space into the packets that they stand for, as those of the kernel are cut.
// Packets that it returns are valid until the next Begin.
type Splitter struct {
	segmenter segmenter
	heads     [maxBatch][maxHead]byte
	used      int // of heads
}

// Begin begins a batch of packets, in which super-packets that are split already go on.
func (s *Splitter) Begin() { s.used = 0 }

// Pending reports whether Next has more packets.
func (s *Splitter) Pending() bool { return s.segmenter.pending() }

// Start takes a TCP packet without extension headers whose checksum field holds the sum of the pseudo-header alone. size is the most
// payload of a segment. The packet is used until Next has returned all of it.
func (s *Splitter) Start(packet []byte, size int) error {
	h := virtioNetHdr{flags: needsCsum, csumStart: teredo.HeaderLen, csumOffset: tcpChecksum}
	if len(packet) > teredo.HeaderLen+tcpHeaderLen+size {
		h.gsoType, h.gsoSize = gsoTCPv6, uint16(size)
	}
	return s.segmenter.begin(h, packet)
}

// Next fills ps with the next packets and returns how many. Of a batch at most 128 packets are split.
func (s *Splitter) Next(ps []Packet) (n int) {
	n = s.segmenter.next(ps[:min(len(ps), maxBatch-s.used)], s.heads[s.used:])
	s.used += n
	return n
}

// Gatherer puts the packets of a batch together for a stack in user space, as they are put together for the kernel.
type Gatherer struct {
	coalescer coalescer
	parts     [][]byte
}

// Gather calls deliver with the parts of each packet or TCP super-packet, in the order of their flows. What is in several parts needs
// Complete. The packets may be changed.
func (g *Gatherer) Gather(packets [][]byte, deliver func(parts [][]byte)) {
	for len(packets) > 0 {
		batch := packets[:min(len(packets), maxBatch)]
		packets = packets[len(batch):]
		c := &g.coalescer
		c.coalesce(batch)
		for i := range c.superPackets[:c.n] {
			s := &c.superPackets[i]
			c.prepare(s)
			at := s.first
			g.parts = append(g.parts[:0], batch[at])
			for range s.segments - 1 {
				at = c.after[at]
				g.parts = append(g.parts, batch[at][s.headLen:])
			}
			deliver(g.parts)
		}
	}
}

// Complete computes the checksum of a super-packet from Gather that is in two pieces now, the first of an even length.
func Complete(head, body []byte) {
	putChecksum(head[teredo.HeaderLen+tcpChecksum:], sum(body, sum(head[teredo.HeaderLen:], 0)), false)
}
