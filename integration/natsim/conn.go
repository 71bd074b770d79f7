package natsim

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/teredo-suite/teredo/internal/udp"
)

// receiveBuffer is how many datagrams a socket holds for its reader.
const receiveBuffer = 4096

// Conn is a UDP socket of a Host, with the methods of udp.Conn.
type Conn struct {
	host    *Host
	id      int
	local   netip.AddrPort
	inbox   chan Packet
	closing atomic.Bool
	closed  chan struct{}
}

func newConn(h *Host, local netip.AddrPort) *Conn {
	return &Conn{host: h, id: h.in.id(), local: local, inbox: make(chan Packet, receiveBuffer), closed: make(chan struct{})}
}

// LocalAddr returns the address and port that the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Offloads says that there are none.
func (c *Conn) Offloads() udp.Offloads { return udp.Offloads{} }

// wants reports whether a datagram is for the socket.
func (c *Conn) wants(p Packet) bool {
	local, dst := c.local.Addr(), p.Dst.Addr()
	return p.Dst.Port() == c.local.Port() && (local == dst || local.IsUnspecified() && !dst.IsMulticast())
}

func (c *Conn) receive(p Packet) {
	select {
	case c.inbox <- p:
		c.host.in.trace.add(c.host.port.name, Received, "", p)
	default:
		c.host.in.trace.add(c.host.port.name, Dropped, "receive buffer full", p)
	}
}

// ReadBatch waits for a datagram, and takes those that wait behind it too.
func (c *Conn) ReadBatch(ms []udp.Message) (n int, err error) {
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	case p := <-c.inbox:
		ms[0] = take(p)
	}
	for n = 1; n < len(ms); n++ {
		select {
		case p := <-c.inbox:
			ms[n] = take(p)
		default:
			return n, nil
		}
	}
	return n, nil
}

// take makes a message of a packet.
func take(p Packet) udp.Message {
	return udp.Message{Buf: slices.Clone(p.Payload), N: len(p.Payload), Remote: p.Src}
}

// WriteBatch sends datagrams, and returns how many were sent and why the first of the others was not.
func (c *Conn) WriteBatch(ms []udp.Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	ok := c.host.in.clock.do(c.id, ms[0].Buf[:ms[0].N], func() {
		for i := range ms {
			refusal := c.send(&ms[i])
			if refusal == nil {
				n++
			} else if err == nil {
				err = refusal
			}
		}
	})
	if !ok {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *Conn) send(m *udp.Message) error {
	h := c.host
	src, dst := h.source(c.local.Addr()), m.Remote.Addr()
	switch {
	case !slices.Contains(h.conns, c):
		return net.ErrClosed
	case !dst.Is4() || m.Remote.Port() == 0:
		return udp.ErrRemote
	case !src.IsValid():
		return syscall.ENETUNREACH
	case m.N+len(m.Tail) > maxPayload:
		return syscall.EMSGSIZE
	}
	p := Packet{
		Src: netip.AddrPortFrom(src, c.local.Port()), Dst: m.Remote, TTL: defaultTTL,
		Payload: slices.Concat(m.Buf[:m.N], m.Tail),
	}
	if !dst.IsMulticast() {
		h.in.send(h.port, p)
		return nil
	}
	p.TTL = 1
	p = h.in.send(h.port, p)
	for _, other := range h.conns { // of this host, the sender too (IP_MULTICAST_LOOP)
		if other.wants(p) {
			other.receive(p)
		}
	}
	return nil
}

const maxPayload = 65535 - 20 - 8

// Close closes the socket. A blocked ReadBatch returns.
func (c *Conn) Close() error {
	if c.closing.Swap(true) {
		return net.ErrClosed
	}
	close(c.closed)
	c.host.in.do(func() {
		c.host.conns = slices.DeleteFunc(c.host.conns, func(o *Conn) bool { return o == c })
	})
	return nil
}
