// Package tun reads and writes IPv6 packets at a TUN interface of Linux, many at a time.
//
// With generic segmentation offload (IFF_VNET_HDR, TUN_F_TSO6, TUN_F_USO6) the kernel hands over consecutive segments of one
// TCP or UDP flow as one super-packet of up to 64 KiB, and accepts super-packets, too. A super-packet is segmented without
// copying its payload: each segment gets headers of its own, and its payload stays where the kernel put it. Written packets
// are coalesced into super-packets in the same way, with one writev(2) that gathers the segments.
package tun

import (
	"errors"
	"fmt"
	"runtime"
)

// ErrNoDevices is the error of Open on systems whose TUN interfaces this package does not know.
var ErrNoDevices = fmt.Errorf("this program cannot make an IPv6 interface on %s yet", runtime.GOOS)

// ErrNoOffload is the error of Open when the offload was demanded and the kernel refuses it.
var ErrNoOffload = errors.New("the kernel has no TCP offload for TUN interfaces")

// Packet is an IPv6 packet in two parts. The headers, at least 40 bytes of a packet that has them, are in Head; Body is
// empty unless the packet was a segment of a super-packet.
type Packet struct{ Head, Body []byte }

// Device is a TUN interface. One goroutine at a time may read; any number may write.
type Device interface {
	// ReadBatch waits for packets and fills the first n elements of ps, which must not be empty. The bytes belong to the
	// device and are valid until the next call. After Close, or when the interface is gone, the error is os.ErrClosed.
	ReadBatch(ps []Packet) (n int, err error)
	// WriteBatch hands packets to the local stack, in order within each flow, and returns how many it accepted. A packet
	// that it refuses is skipped; err is the first refusal. WriteBatch may change the bytes of the packets.
	WriteBatch(packets [][]byte) (n int, err error)
	// Offloads tells which super-packets cross the interface.
	Offloads() Offloads
	Close() error
}

// Offloads are the kinds of super-packets in use.
type Offloads struct {
	TCP bool `json:"tcp"`
	UDP bool `json:"udp"` // Linux 6.2
}

// Values of the Next Header field.
const (
	protocolTCP = 6
	protocolUDP = 17
)

const (
	tcpHeaderLen = 20 // without options
	udpHeaderLen = 8
	portsLen     = 4     // both ports, with which TCP and UDP headers begin
	maxPayload   = 65535 // of an IPv6 packet, by its length field
)

// Offsets from the start of the TCP or UDP header.
const (
	tcpSequence   = 4
	tcpAck        = 8
	tcpDataOffset = 12
	tcpFlags      = 13
	tcpChecksum   = 16
	udpLength     = 4
	udpChecksum   = 6
)

// TCP flags.
const (
	flagFIN = 0x01
	flagPSH = 0x08
	flagACK = 0x10
	flagECE = 0x40
	flagCWR = 0x80
)
