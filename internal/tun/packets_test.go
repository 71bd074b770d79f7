package tun

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// flow makes packets of one TCP or UDP flow.
type flow struct {
	protocol         uint8
	src, dst         netip.Addr
	srcPort, dstPort uint16
	class            uint8  // traffic class
	options          []byte // TCP
	sequence, ack    uint32
}

func newFlow(protocol uint8, n int) *flow {
	f := &flow{
		protocol: protocol, src: netip.MustParseAddr("2001:db8::1"), dst: netip.MustParseAddr("2001:db8::2"),
		srcPort: uint16(1000 + n), dstPort: 443, sequence: ^uint32(0) - 2000, ack: 7,
	}
	if protocol == protocolTCP {
		f.options = []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, byte(n)} // time stamps
	}
	return f
}

// packet makes the next packet, with payload and a right checksum. Flags are for TCP.
func (f *flow) packet(flags uint8, payload []byte) []byte {
	var transport []byte
	at := udpChecksum
	transport = binary.BigEndian.AppendUint16(transport, f.srcPort)
	transport = binary.BigEndian.AppendUint16(transport, f.dstPort)
	if f.protocol == protocolTCP {
		at = tcpChecksum
		transport = binary.BigEndian.AppendUint32(transport, f.sequence)
		transport = binary.BigEndian.AppendUint32(transport, f.ack)
		transport = append(transport, byte(tcpHeaderLen+len(f.options))/4<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
		transport = append(transport, f.options...)
		f.sequence += uint32(len(payload))
	} else {
		transport = binary.BigEndian.AppendUint16(transport, uint16(udpHeaderLen+len(payload)))
		transport = append(transport, 0, 0)
	}
	transport = append(transport, payload...)
	p := []byte{0x60 | f.class>>4, f.class << 4, 0, 9, 0, 0, f.protocol, 64}
	binary.BigEndian.PutUint16(p[4:], uint16(len(transport)))
	p = append(append(p, f.src.AsSlice()...), f.dst.AsSlice()...)
	p = append(p, transport...)
	binary.BigEndian.PutUint16(p[teredo.HeaderLen+at:], checksum(p, at))
	return p
}

// random returns n bytes.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }
