package tun

import "encoding/binary"

// virtioLen is the length of struct virtio_net_hdr, which precedes every packet (linux/virtio_net.h).
const virtioLen = 10

// Values in struct virtio_net_hdr, whose names there begin with VIRTIO_NET_HDR_.
const (
	needsCsum = 1 // flag: the packet is CHECKSUM_PARTIAL, so its checksum field holds the sum of the pseudo-header alone

	gsoNone  = 0
	gsoTCPv6 = 4
	gsoUDPL4 = 5
)

// virtioNetHdr is struct virtio_net_hdr. Its fields are in the machine's byte order.
type virtioNetHdr struct {
	flags, gsoType        uint8
	hdrLen                uint16 // of the headers before the payload
	gsoSize               uint16 // payload of each segment but the last
	csumStart, csumOffset uint16 // where checksumming starts, and the checksum field counted from there
}

func parseVirtioNetHdr(b []byte) virtioNetHdr {
	return virtioNetHdr{
		flags: b[0], gsoType: b[1],
		hdrLen: binary.NativeEndian.Uint16(b[2:]), gsoSize: binary.NativeEndian.Uint16(b[4:]),
		csumStart: binary.NativeEndian.Uint16(b[6:]), csumOffset: binary.NativeEndian.Uint16(b[8:]),
	}
}

func (v virtioNetHdr) put(b []byte) {
	b[0], b[1] = v.flags, v.gsoType
	binary.NativeEndian.PutUint16(b[2:], v.hdrLen)
	binary.NativeEndian.PutUint16(b[4:], v.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], v.csumStart)
	binary.NativeEndian.PutUint16(b[8:], v.csumOffset)
}
