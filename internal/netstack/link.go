package netstack

import (
	"sync"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/teredo-suite/teredo/internal/tun"
)

// outgoing is how many packets, or super-packets, wait for ReadBatch. TCP repeats what finds no room.
const outgoing = 1024

// link is the stack's interface, seen from both sides: a stack.LinkEndpoint, and a tunnel.Device.
type link struct {
	mtu        uint32
	dispatcher stack.NetworkDispatcher // set once, before the first packet
	queue      chan *stack.PacketBuffer
	done       chan struct{}

	reader
	writing sync.Mutex
	writer
	windows windows
}

func newLink(mtu uint32) *link {
	return &link{mtu: mtu, queue: make(chan *stack.PacketBuffer, outgoing), done: make(chan struct{}), reader: newReader(), windows: newWindows()}
}

// WritePackets takes packets from the stack.
func (l *link) WritePackets(packets stack.PacketBufferList) (n int, _ tcpip.Error) {
	for _, p := range packets.AsSlice() {
		select {
		case <-l.done:
			return n, &tcpip.ErrClosedForSend{}
		default:
		}
		l.windows.sent(p)
		select {
		case l.queue <- p.IncRef():
			n++
		default:
			p.DecRef()
			return n, &tcpip.ErrNoBufferSpace{}
		}
	}
	return n, nil
}

// Offloads says that super-packets of TCP cross the interface.
func (l *link) Offloads() tun.Offloads { return tun.Offloads{TCP: true} }

// close ends ReadBatch and WriteBatch. Once it has returned, the stack gets no packet any more, and may go.
func (l *link) close() {
	l.writing.Lock()
	defer l.writing.Unlock()
	close(l.done)
}

// What follows completes stack.LinkEndpoint. The stack may cut TCP data into super-packets whose checksum is not complete.

func (l *link) MTU() uint32                                  { return l.mtu }
func (l *link) SetMTU(uint32)                                {}
func (l *link) MaxHeaderLength() uint16                      { return 0 }
func (l *link) LinkAddress() tcpip.LinkAddress               { return "" }
func (l *link) SetLinkAddress(tcpip.LinkAddress)             {}
func (l *link) Capabilities() stack.LinkEndpointCapabilities { return stack.CapabilityNone }
func (l *link) Attach(d stack.NetworkDispatcher)             { l.dispatcher = d }
func (l *link) IsAttached() bool                             { return l.dispatcher != nil }
func (l *link) Wait()                                        {}
func (l *link) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (l *link) AddHeader(*stack.PacketBuffer)                {}
func (l *link) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (l *link) SetOnCloseAction(func())                      {}
func (l *link) Close()                                       {}
