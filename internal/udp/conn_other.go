//go:build !linux

package udp

import (
	"net"
	"net/netip"
)

// Conn is an IPv4 UDP socket. One goroutine at a time may call ReadBatch;
// the other methods may be called by any number of goroutines at once.
type Conn struct {
	conn   *net.UDPConn
	local  netip.AddrPort
	buffer []byte // holds any datagram, to tell which do not fit their message
}

// Listen opens a socket on a local IPv4 address, which may be 0.0.0.0.
// Port 0 lets the system choose one. An error is one sentence that tells a
// person what to do; errors.Is finds syscall.EADDRINUSE and its like in it.
func Listen(local netip.AddrPort) (*Conn, error) {
	conn, err := listen(local)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadBuffer(bufferSize)
	_ = conn.SetWriteBuffer(bufferSize)
	return &Conn{conn: conn, local: localAddr(conn), buffer: make([]byte, maxPayload)}, nil
}

// ReadBatch waits for a datagram and fills Buf, N and Remote of the first
// message with it. A datagram that does not fit Buf is dropped. After Close
// the error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	for {
		n, remote, err := c.conn.ReadFromUDPAddrPort(c.buffer)
		if err != nil {
			return 0, err
		}
		if n > len(ms[0].Buf) {
			continue
		}
		ms[0].N = copy(ms[0].Buf, c.buffer[:n])
		ms[0].Remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		return 1, nil
	}
}

// WriteBatch sends Buf[:N] of every message to its Remote, in order, and
// returns how many were sent. A message the system refuses is skipped: err is
// the first refusal, such as ErrRemote. After Close the error is net.ErrClosed.
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
	_, err := c.conn.WriteToUDPAddrPort(m.Buf[:m.N], m.Remote)
	return err
}

// LocalAddr returns the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Close closes the socket. A blocked ReadBatch returns.
func (c *Conn) Close() error { return c.conn.Close() }
