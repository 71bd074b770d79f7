// Package udp carries batches of IPv4 UDP datagrams.
//
// On Linux a batch costs one system call in each direction, and a burst to one
// remote crosses the kernel as one unit (UDP_SEGMENT, UDP_GRO). Elsewhere
// every datagram is a system call of its own.
//
// Outer packets are as Teredo asks: the IPv4 Don't Fragment bit is clear
// (RFC 4380 §5.1.2) and the ECN field is zero (RFC 9601 §6.1.3). Linux sockets
// also refuse to send to broadcast addresses. Elsewhere the system's defaults
// are relied upon.
package udp

import (
	"errors"
	"net/netip"
)

// Message is one datagram of a batch.
type Message struct {
	Buf    []byte         // the caller's buffer
	N      int            // bytes of UDP payload at the head of Buf
	Remote netip.AddrPort // where it came from, or where it goes to
}

// ErrRemote is the refusal of a message whose remote is not an IPv4 address
// and a port other than 0.
var ErrRemote = errors.New("remote is not an IPv4 address with a port")

const (
	maxPayload = 65535 - 20 - 8 // UDP payload of the largest IPv4 packet
	bufferSize = 4 << 20        // wanted size of the kernel's buffers, each way
)

func sendable(remote netip.AddrPort) bool {
	return remote.Addr().Is4() && remote.Port() != 0
}
