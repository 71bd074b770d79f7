package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Conn is an IPv4 UDP socket. One goroutine at a time may call ReadBatch;
// the other methods may be called by any number of goroutines at once.
type Conn struct {
	conn     *net.UDPConn
	local    netip.AddrPort
	receiver *receiver
	senders  sync.Pool   // of *sender: as many as there are concurrent writers
	segments atomic.Bool // bursts may leave as one UDP_SEGMENT send
}

// Listen opens a socket on a local IPv4 address, which may be 0.0.0.0.
// Port 0 lets the kernel choose one. An error is one sentence that tells a
// person what to do; errors.Is finds syscall.EADDRINUSE and its like in it.
func Listen(local netip.AddrPort) (*Conn, error) {
	conn, err := listen(local)
	if err != nil {
		return nil, err
	}
	c, err := newConn(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("prepare UDP socket %s: %w", local, err)
	}
	return c, nil
}

func newConn(conn *net.UDPConn) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{conn: conn, local: localAddr(conn), receiver: newReceiver(raw)}
	c.senders.New = func() any { return newSender(raw, &c.segments) }
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = c.setOptions(int(fd)) }); err != nil {
		return nil, err
	}
	return c, failed
}

// setOptions sets what Teredo demands of its outer packets, which must
// succeed, and what makes them fast, which may fail.
func (c *Conn) setOptions(fd int) error {
	for _, o := range []struct {
		name                 string
		level, option, value int
	}{
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0},
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 0}, // package net allows it
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return fmt.Errorf("set %s to %d: %w", o.name, o.value, err)
		}
	}
	enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	_ = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) // Linux 5.0
	_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT)
	c.segments.Store(err == nil) // Linux 4.18
	return nil
}

// enlarge sets the size of a kernel buffer: beyond the system's limit where
// privileges allow it, else up to it.
func enlarge(fd, force, option int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bufferSize) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bufferSize)
	}
}

// LocalAddr returns the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Close closes the socket. A blocked ReadBatch or WriteBatch returns.
func (c *Conn) Close() error { return c.conn.Close() }

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	len uint32 // bytes received or sent
}

// control is the one control message of a header. Its value begins right
// after the header on every architecture.
type control struct {
	unix.Cmsghdr
	value [8]byte
}

// networkOrder turns a port into the kernel's form, and back.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// retryable reports whether a system call that failed is worth repeating at
// once: it was interrupted, or it was handed an ICMP error that says nothing
// about the datagrams to come. The kernel reports such an error only once.
func retryable(errno syscall.Errno) bool {
	switch errno {
	case unix.EINTR, unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.EHOSTDOWN, unix.ENETUNREACH,
		unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT:
		return true
	}
	return false
}
