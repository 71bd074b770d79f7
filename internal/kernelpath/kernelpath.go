// Package kernelpath has the kernel carry the packets of confirmed flows between the TUN device and the uplink. Two eBPF
// programs add and remove the 28 bytes of IPv4 and UDP header, so a packet, or a GSO packet of many segments, never leaves the
// kernel. All rules stay in the program. It says what a confirmed flow is, and gets every packet that belongs to none.
//
// The kernel often makes GSO packets, which still have to be segmented, and CHECKSUM_PARTIAL packets, whose checksum still has to be
// filled in. A physical link gets them segmented and with checksums. A virtual link, such as veth, passes them on as they are,
// and a program at its other end that gets such a packet from its UDP socket cannot use it. So over a virtual link a flow carries
// packets only when the other end has shown that its kernel carries the flow, too. It shows that by a direct bubble, sent through its
// kernel path, which arrives with the encapsulation mark (skb->encapsulation). The flow closes when packets come without the mark
// for a while: then the other end's program sends them, and may have restarted.
//
// Over physical links datagrams have a UDP checksum. The exceptions are segments of GSO packets, and packets for which the kernel
// cannot compute it from headers alone. Some NATs and firewalls drop datagrams without one. So these leave only where one
// was acknowledged; see may_omit_checksum in path.c.
//
// Where clients have native addresses, the programs translate these on the way. ICMPv6 errors are left to the program, as
// they quote further addresses.
package kernelpath

import (
	"net/netip"
	"time"
)

// Flow is the packets between one IPv6 address on our side of the tunnel and one peer.
type Flow struct {
	Local, Peer netip.Addr
}

// Direction is one of packets: out of the host to the peer, or in from it.
type Direction uint32

// The directions.
const (
	Out Direction = iota
	In
)

// Usage is what the kernel has carried of a flow since it was added.
type Usage struct {
	Sent, Received           uint64    // packets
	SentBytes, ReceivedBytes uint64    // of them, without the headers of the datagrams
	Heard                    time.Time // of the last reception
	Open                     bool      // packets may be sent, over virtual links GSO and CHECKSUM_PARTIAL packets, too
	NoBursts                 bool      // GSO packets of TCP are left to the program, as datagrams without a UDP checksum get lost
}
