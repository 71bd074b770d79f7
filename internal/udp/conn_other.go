//go:build !linux

package udp

import (
	"net"
	"net/netip"

	"github.com/teredo-suite/teredo/internal/offload"
)

// Conn is an IPv4 UDP socket. One goroutine at a time may call ReadBatch;
// the other methods may be called by any number of goroutines at once.
type Conn struct {
	conn   *net.UDPConn
	local  netip.AddrPort
	buffer []byte // holds any datagram
}

// Listen opens a socket on a local IPv4 address, which may be 0.0.0.0.
// Port 0 lets the system choose one. The error is a *ListenError, ErrNoGSO or
// ErrNoGRO.
func Listen(local netip.AddrPort, o Options) (*Conn, error) {
	if err := checkLocal(local); err != nil {
		return nil, err
	}
	if o.GSO == offload.On {
		return nil, ErrNoGSO
	}
	if o.GRO == offload.On {
		return nil, ErrNoGRO
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, &ListenError{local, err}
	}
	_ = conn.SetReadBuffer(bufferSize)
	_ = conn.SetWriteBuffer(bufferSize)
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &Conn{
		conn: conn, local: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), buffer: make([]byte, maxPayload),
	}, nil
}

// ListenGroup is Listen: this system cannot spread remotes over several sockets.
func ListenGroup(local netip.AddrPort, size int, o Options) ([]*Conn, error) {
	c, err := Listen(local, o)
	return []*Conn{c}, err
}

// ReadBatch waits for a datagram and fills the first message with it. Its
// bytes belong to the Conn and are valid until the next call. After Close the
// error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	n, remote, err := c.conn.ReadFromUDPAddrPort(c.buffer)
	if err != nil {
		return 0, err
	}
	ms[0] = Message{Buf: c.buffer, N: n, Remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	return 1, nil
}

// WriteBatch sends every message to its Remote, in order, and returns how
// many were sent. A message the system refuses is skipped: err is the first
// refusal, such as ErrRemote. After Close the error is net.ErrClosed.
func (c *Conn) WriteBatch(ms []Message) (n int, err error) {
	for i := range ms {
		refusal := c.write(&ms[i])
		if refusal == nil {
			n++
		} else if err == nil {
			err = refusal
		}
	}
	return n, err
}

func (c *Conn) write(m *Message) error {
	if !sendable(m.Remote) {
		return ErrRemote
	}
	payload := m.Buf[:m.N]
	if len(m.Tail) > 0 {
		payload = append(payload[:m.N:m.N], m.Tail...)
	}
	_, err := c.conn.WriteToUDPAddrPort(payload, m.Remote)
	return err
}

// LocalAddr returns the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Offloads tells which offloads are in use: none.
func (c *Conn) Offloads() Offloads { return Offloads{} }

// Close closes the socket. A blocked ReadBatch returns.
func (c *Conn) Close() error { return c.conn.Close() }
