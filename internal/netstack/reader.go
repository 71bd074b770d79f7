package netstack

import (
	"encoding/binary"
	"os"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	superPacket = 64 << 10 // bytes of the largest
	arenaSize   = 2 * superPacket
	headSize    = teredo.HeaderLen + 60 // IPv6 and the longest TCP header
)

// reader is the state of ReadBatch, which every batch uses again.
type reader struct {
	splitter *tun.Splitter
	arena    []byte
}

func newReader() reader { return reader{new(tun.Splitter), make([]byte, arenaSize)} }

// GSOMaxSize and SupportedGSO have TCP hand over data of several segments as one packet without a complete checksum.
func (l *link) GSOMaxSize() uint32               { return superPacket - teredo.HeaderLen }
func (l *link) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }

// ReadBatch implements tunnel.Device. It takes packets until none is left, or until it has a super-packet's worth of bytes.
func (l *link) ReadBatch(ps []tun.Packet) (n int, err error) {
	l.splitter.Begin()
	if l.splitter.Pending() {
		return l.splitter.Next(ps), nil
	}
	var p *stack.PacketBuffer
	select {
	case <-l.done:
		return 0, os.ErrClosed
	case p = <-l.queue:
	}
	for used := 0; ; {
		size, taken, err := l.take(p, l.arena[used:], ps[n:])
		used, n = used+size, n+taken
		if err != nil || n == len(ps) || used > len(l.arena)-superPacket || l.splitter.Pending() {
			return n, err
		}
		select {
		case p = <-l.queue:
		default:
			return n, nil
		}
	}
}

// take copies a packet of the stack to the arena, and makes packets of it.
func (l *link) take(p *stack.PacketBuffer, arena []byte, ps []tun.Packet) (size, n int, err error) {
	defer p.DecRef()
	views, skip := p.AsViewList()
	for v := views.Front(); v != nil; v = v.Next() {
		b := v.AsSlice()
		cut := min(skip, len(b))
		skip -= cut
		size += copy(arena[size:], b[cut:])
	}
	packet := arena[:size]
	if p.GSOOptions.Type == stack.GSONone {
		ps[0] = tun.Packet{Head: packet}
		return size, 1, nil
	}
	if err := l.splitter.Start(packet, int(p.GSOOptions.MSS)); err != nil {
		return size, 0, err
	}
	return size, l.splitter.Next(ps), nil
}

// writer is the state of WriteBatch, which every batch uses again.
type writer struct {
	gatherer tun.Gatherer
}

// WriteBatch implements tunnel.Device. It hands packets to the stack, those of one TCP flow put together.
func (l *link) WriteBatch(packets [][]byte) (n int, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	select {
	case <-l.done:
		return 0, os.ErrClosed
	default:
	}
	l.gatherer.Gather(packets, l.deliver)
	return len(packets), nil
}

// deliver gives the stack a packet of its own. Its headers have a view to themselves, because the stack copies a view before it takes
// headers from it.
func (l *link) deliver(parts [][]byte) {
	first := parts[0]
	at := min(headSize, len(first))
	size := len(first) - at
	for _, part := range parts[1:] {
		size += len(part)
	}
	head, body := buffer.NewViewWithData(first[:at]), buffer.NewView(size)
	_, _ = body.Write(first[at:]) // there is room for all
	for _, part := range parts[1:] {
		_, _ = body.Write(part)
	}
	if len(parts) > 1 {
		tun.Complete(head.AsSlice(), body.AsSlice()) // the stack checks it
	}
	noRoute(head.AsSlice())
	if len(parts) == 1 && size == 0 {
		l.windows.received(head.AsSlice())
	}
	payload := buffer.MakeWithView(head)
	if size > 0 {
		_ = payload.Append(body)
	}
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: payload})
	defer p.DecRef()
	l.dispatcher.DeliverNetworkPacket(ipv6.ProtocolNumber, p)
}

// noRoute makes ICMPv6 errors that gVisor ignores, such as "prohibited", into the one that it knows, "no route", so that who connects
// need not wait for the end of all repetitions. The checksum is right afterwards if it was before (RFC 1624).
func noRoute(p []byte) {
	const code, checksum = teredo.HeaderLen + 1, teredo.HeaderLen + 2
	if !teredo.IsICMPv6Type(p, teredo.ICMPv6Unreachable) || p[code] == teredo.UnreachablePort {
		return
	}
	sum := binary.BigEndian.Uint16(p[checksum:])
	binary.BigEndian.PutUint16(p[checksum:], adjusted(sum, uint32(p[code]), teredo.UnreachableNoRoute))
	p[code] = teredo.UnreachableNoRoute
}

// adjusted is a checksum after a field of the packet, which ends at an even place, has another value (RFC 1624).
func adjusted(checksum uint16, was, is uint32) uint16 {
	sum := uint32(^checksum)
	for _, v := range [...]uint32{^was, is} {
		sum += v>>16 + v&0xffff
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum>>16 + sum)
}
