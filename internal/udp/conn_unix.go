//go:build unix && !linux

package udp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
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
	if err := o.refuse(); err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, &ListenError{local, err}
	}
	return wrap(conn), nil
}

// newConn takes over a bound socket, also when it fails.
func newConn(fd int, _ Options) (*Conn, error) {
	file := os.NewFile(uintptr(fd), "UDP socket")
	defer file.Close() // FilePacketConn duplicates it
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, fmt.Errorf("prepare UDP socket: %w", err)
	}
	return wrap(conn.(*net.UDPConn)), nil
}

func wrap(conn *net.UDPConn) *Conn {
	_ = conn.SetReadBuffer(bufferSize)
	_ = conn.SetWriteBuffer(bufferSize)
	bound := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return &Conn{
		conn: conn, local: netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), buffer: make([]byte, maxPayload),
	}
}

// ReadBatch waits for a datagram and fills the first message with it. Its
// bytes belong to the Conn and are valid until the next call. After Close the
// error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	n, remote, err := c.conn.ReadFromUDPAddrPort(c.buffer)
	for refusal(err) {
		n, remote, err = c.conn.ReadFromUDPAddrPort(c.buffer)
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return 0, net.ErrClosed
	case err != nil:
		return 0, err
	}
	ms[0] = Message{Buf: c.buffer, N: n, Remote: netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())}
	return 1, nil
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
	if errors.Is(err, net.ErrClosed) {
		return net.ErrClosed
	}
	return err
}

// refusal reports whether an error tells of an ICMP message about a datagram sent before, and not of the socket.
func refusal(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.ENETUNREACH) ||
		errors.Is(err, unix.EHOSTDOWN) || errors.Is(err, unix.ENETDOWN)
}

// Close closes the socket. A blocked ReadBatch returns.
func (c *Conn) Close() error { return c.conn.Close() }
