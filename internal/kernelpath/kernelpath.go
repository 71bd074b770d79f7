// Package kernelpath has the kernel carry the packets of confirmed flows between the TUN device and the uplink: two eBPF
// programs add and remove the 28 bytes of IPv4 and UDP header, so a packet, or a super-packet of many segments, never leaves
// the kernel. All rules stay in the program, which says what a confirmed flow is and takes every packet that belongs to none.
//
// A packet that the kernel has made is often unfinished: its checksum is still to be filled in, and a super-packet is still to
// be cut up. A network interface does both before anything leaves the host. A virtual link to the same machine does
// not, and a program that gets such a packet from its UDP socket cannot use it. So over an uplink that does not finish packets
// a flow carries them only when a packet from the other end has shown that it is open there, too: a direct bubble sent
// through the kernel arrives still marked as tunnelled. When packets come without the mark for a while the flow closes again: a
// program sends them, which may be another than before.
//
// Over other uplinks datagrams have a UDP checksum, but for the segments of super-packets and what else the kernel cannot know it
// for. Some NATs and firewalls drop those without. So they leave only where one was acknowledged; see may_be_bare in path.c.
package kernelpath

import (
	"net/netip"
	"time"
)

// Flow is packets between an IPv6 address on our side of the tunnel and a peer.
type Flow struct {
	Local, Peer netip.Addr
}

// Usage is what the kernel has carried of a flow since it was added.
type Usage struct {
	Sent, Received           uint64    // packets
	SentBytes, ReceivedBytes uint64    // of them, without the headers of the datagrams
	Heard                    time.Time // of the last reception
	Open                     bool      // packets are sent, unfinished ones too
	NoBursts                 bool      // bursts of TCP are left to the program, as datagrams without a checksum get lost
}
