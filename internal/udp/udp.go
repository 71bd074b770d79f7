// Package udp carries batches of IPv4 UDP datagrams.
//
// On Linux a batch costs one system call in each direction, and consecutive
// datagrams to one remote cross the kernel as one unit: generic segmentation
// offload (GSO, UDP_SEGMENT) and generic receive offload (GRO, UDP_GRO). On
// other systems every datagram costs a system call.
//
// Outer packets are as Teredo demands: the IPv4 Don't Fragment bit is clear
// (RFC 4380 §5.1.2) and the ECN field is zero (RFC 9601 §6.1.3). Linux sockets
// also refuse to send to broadcast addresses. On other systems the defaults
// apply.
package udp

import (
	"errors"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/offload"
)

// Message is one datagram of a batch.
type Message struct {
	Buf    []byte         // the payload is at its head
	N      int            // bytes of Buf that belong to the payload
	Tail   []byte         // the rest of the payload, if it is elsewhere; only when sending
	Remote netip.AddrPort // where it came from, or where it goes to
}

// size is the length of the UDP payload.
func (m *Message) size() int { return m.N + len(m.Tail) }

// Options tell which offloads a socket uses. The zero value uses those that the kernel has.
type Options struct {
	GSO offload.Mode // send several datagrams as one unit (UDP_SEGMENT)
	GRO offload.Mode // receive several datagrams as one unit (UDP_GRO)
}

// Offloads are the offloads that a socket uses now.
type Offloads struct {
	GSO bool `json:"gso"`
	GRO bool `json:"gro"`
}

// ErrRemote is the refusal of a message whose remote is not an IPv4 address
// and a port other than 0.
var ErrRemote = errors.New("remote is not an IPv4 address with a port")

const (
	maxPayload  = 65535 - 20 - 8 // UDP payload of the largest IPv4 packet
	maxSegments = 64             // datagrams of one UDP_SEGMENT send (UDP_MAX_SEGMENTS of the oldest kernels)
	bufferSize  = 4 << 20        // wanted size of the kernel's buffers, each way
)

// MostSegments is how many datagrams with payloads of size bytes one UDP_SEGMENT send can carry.
func MostSegments(size int) int { return min(maxSegments, maxPayload/size) }

func sendable(remote netip.AddrPort) bool {
	return remote.Addr().Is4() && remote.Port() != 0
}
