package netstack

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/teredo-suite/teredo/teredo"
)

const (
	narrow      = 16                // the window field of a window that is nearly closed
	promised    = (narrow + 1) << 7 // bytes that a peer may send into one at most: the window scale of mostReceive is 7
	mostWindows = 4096              // that are noted
)

// connection is a TCP connection as its segments have it: the addresses of host and peer, and the ports.
type connection struct {
	local, remote         [16]byte
	localPort, remotePort uint16
}

// windows are the connections whose receive window is nearly closed, each with the next sequence number that the host expects.
//
// A receiver promises a window in units of 1<<scale bytes. What is left of it below one unit is announced as zero. gVisor then
// refuses data that the peer has sent within the promise, and from then on every acknowledgement of the peer, because its sequence
// number counts those data. If both directions are full, neither end would ever send again. RFC 9293 §3.10.7.4 has a receiver accept
// acknowledgements while its window is zero, so these get the sequence number that gVisor expects.
type windows struct {
	any atomic.Bool
	mu  sync.Mutex
	all map[connection]uint32
}

func newWindows() windows { return windows{all: make(map[connection]uint32)} }

// sent notes the window of a segment that the host sends.
func (w *windows) sent(p *stack.PacketBuffer) {
	ip, tcp := header.IPv6(p.NetworkHeader().Slice()), header.TCP(p.TransportHeader().Slice())
	if p.TransportProtocolNumber != header.TCPProtocolNumber || len(ip) < header.IPv6MinimumSize || len(tcp) < header.TCPMinimumSize {
		return
	}
	closing := tcp.WindowSize() < narrow && tcp.Flags()&^header.TCPFlagPsh == header.TCPFlagAck
	if !closing && !w.any.Load() {
		return
	}
	c := connection{
		local: [16]byte(ip.SourceAddressSlice()), remote: [16]byte(ip.DestinationAddressSlice()),
		localPort: tcp.SourcePort(), remotePort: tcp.DestinationPort(),
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if closing {
		w.all[c] = tcp.AckNumber()
	} else {
		delete(w.all, c)
	}
	if len(w.all) > mostWindows { // connections that have ended leave theirs behind
		for other := range w.all {
			delete(w.all, other)
			break
		}
	}
	w.any.Store(len(w.all) > 0)
}

// received changes a packet for the host: an acknowledgement that counts refused data gets the sequence number that the host expects.
// The checksum is right afterwards if it was before (RFC 1624).
func (w *windows) received(p []byte) {
	if !w.any.Load() || len(p) < teredo.HeaderLen+header.TCPMinimumSize || p[6] != uint8(header.TCPProtocolNumber) {
		return
	}
	ip, tcp := header.IPv6(p), header.TCP(p[teredo.HeaderLen:])
	if tcp.Flags() != header.TCPFlagAck || int(tcp.DataOffset()) != len(tcp) {
		return
	}
	w.mu.Lock()
	expected, ok := w.all[connection{
		local: [16]byte(ip.DestinationAddressSlice()), remote: [16]byte(ip.SourceAddressSlice()),
		localPort: tcp.DestinationPort(), remotePort: tcp.SourcePort(),
	}]
	w.mu.Unlock()
	if ahead := tcp.SequenceNumber() - expected; !ok || ahead == 0 || ahead > promised {
		return
	}
	tcp.SetChecksum(adjusted(tcp.Checksum(), tcp.SequenceNumber(), expected))
	tcp.SetSequenceNumber(expected)
}
