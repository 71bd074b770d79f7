package tun

import "encoding/binary"

// virtioLen is the length of struct virtio_net_hdr, which precedes every packet (linux/virtio_net.h).
const virtioLen = 10

// Values in struct virtio_net_hdr.
const (
	needsChecksum = 1 // flag: the checksum field holds the sum of the pseudo-header alone

	gsoNone = 0
	gsoTCP6 = 4
	gsoUDP  = 5
)

// virtio is struct virtio_net_hdr. Its fields are in the machine's byte order.
type virtio struct {
	flags, gso            uint8
	headLen               uint16 // of the headers before the payload
	gsoSize               uint16 // payload of each segment but the last
	sumStart, sumAtOffset uint16 // where the checksum begins, and its field from there
}

func parseVirtio(b []byte) virtio {
	return virtio{
		flags: b[0], gso: b[1],
		headLen: binary.NativeEndian.Uint16(b[2:]), gsoSize: binary.NativeEndian.Uint16(b[4:]),
		sumStart: binary.NativeEndian.Uint16(b[6:]), sumAtOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

func (v virtio) put(b []byte) {
	b[0], b[1] = v.flags, v.gso
	binary.NativeEndian.PutUint16(b[2:], v.headLen)
	binary.NativeEndian.PutUint16(b[4:], v.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], v.sumStart)
	binary.NativeEndian.PutUint16(b[8:], v.sumAtOffset)
}
