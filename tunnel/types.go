package tunnel

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/mapport"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// These types belong to packages that only this module can import. Under these names every program can use and implement what
// the package asks for, and no packet is copied from one type to another.
type (
	// Device is where the packets of the local IPv6 stack come from and go to, a TUN interface.
	Device = tun.Device
	// Packet is an IPv6 packet from a Device, in one or two parts.
	Packet = tun.Packet
	// DeviceOffloads says which super-packets cross a Device.
	DeviceOffloads = tun.Offloads
	// Message is a UDP datagram.
	Message = udp.Message
	// ConnOffloads says which offloads a Conn uses.
	ConnOffloads = udp.Offloads
	// Flow is packets between an IPv6 address on our side and a peer.
	Flow = kernelpath.Flow
	// Usage is what a Kernel has carried of a Flow.
	Usage = kernelpath.Usage
	// Extensions are the parts of RFC 6081 that a client uses.
	Extensions = peer.Extensions
	// Peer describes a peer.
	Peer = peer.Info
	// Cause says in one word why a peer does not answer.
	Cause = peer.Cause
	// Counts are the entries of the list of peers, by kind.
	Counts = peer.Counts
	// Budgets tells how much of what strangers may cause is left.
	Budgets = peer.Budgets
	// Load is what a relay has carried, and what it had to refuse.
	Load = announce.Load
	// PortMapRequest asks a gateway for a UDP port.
	PortMapRequest = mapport.Request
)

// Conn is a UDP socket. One goroutine at a time reads; any number may write.
type Conn interface {
	// ReadBatch waits for datagrams and fills the first n elements of ms. Their buffers are the Conn's, and valid until the next
	// call. After Close the error is net.ErrClosed.
	ReadBatch(ms []Message) (n int, err error)
	// WriteBatch sends datagrams, and returns how many were sent; err says why the first of the others was not.
	WriteBatch(ms []Message) (n int, err error)
	LocalAddr() netip.AddrPort
	Offloads() ConnOffloads
	Close() error
}
