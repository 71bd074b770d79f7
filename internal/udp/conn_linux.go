package udp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/descriptor"
	"github.com/teredo-suite/teredo/internal/offload"
)

// Conn is an IPv4 UDP socket. One goroutine at a time may call ReadBatch;
// the other methods may be called by any number of goroutines at once.
type Conn struct {
	file     *descriptor.Reader
	local    netip.AddrPort
	options  Options
	receiver *receiver
	senders  sync.Pool   // of *sender: as many as there are concurrent writers
	segments atomic.Bool // bursts may leave as one UDP_SEGMENT send
	coalesce bool        // bursts may arrive as one (UDP_GRO)
}

// Listen opens a socket on a local IPv4 address, which may be 0.0.0.0.
// Port 0 lets the kernel choose one. An error is one sentence that tells a
// person what to do; errors.Is finds syscall.EADDRINUSE and its like in it.
func Listen(local netip.AddrPort, o Options) (*Conn, error) {
	conns, err := ListenGroup(local, 1, o)
	if err != nil {
		return nil, err
	}
	return conns[0], nil
}

// ListenGroup is Listen with several sockets on one address and port. The kernel spreads remotes over them (SO_REUSEPORT).
//
// The first socket does not offer to share the port until it has it, so it finds out whether another program has the port.
// The others join it.
func ListenGroup(local netip.AddrPort, size int, o Options) (conns []*Conn, err error) {
	if err := checkLocal(local.Addr()); err != nil {
		return nil, err
	}
	for len(conns) < size {
		c, err := listen(local, len(conns) > 0, size > 1, o)
		if err != nil {
			for _, c := range conns {
				c.Close()
			}
			return nil, err
		}
		conns, local = append(conns, c), c.local
	}
	return conns, nil
}

// listen opens a socket. It may join others, and then others may join it, if it is to share its port.
func listen(local netip.AddrPort, join, shared bool, o Options) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, explain(local, os.NewSyscallError("socket", err))
	}
	if join {
		err = share(fd)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: local.Addr().As4(), Port: int(local.Port())}))
	}
	if err == nil && shared && !join {
		err = share(fd)
	}
	if err != nil {
		// The socket was not used.
		_ = unix.Close(fd)
		return nil, explain(local, err)
	}
	return newConn(fd, o)
}

func share(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// newConn takes over a bound socket, also when it fails.
func newConn(fd int, o Options) (c *Conn, err error) {
	c = &Conn{options: o, receiver: newReceiver()}
	if err = c.prepare(fd); err == nil {
		c.file, err = descriptor.NewReader(fd, c.receiver.receive)
	}
	if err != nil {
		// The socket was not used.
		_ = unix.Close(fd)
		return nil, fmt.Errorf("prepare UDP socket: %w", err)
	}
	c.senders.New = func() any { return newSender(c) }
	return c, nil
}

// prepare sets what Teredo demands of its outer packets, which must succeed,
// and what makes them fast, which may fail.
func (c *Conn) prepare(fd int) error {
	for _, o := range []struct {
		name                 string
		level, option, value int
	}{
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT},
		{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, 0},
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST, 0},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return fmt.Errorf("set %s to %d: %w", o.name, o.value, err)
		}
	}
	enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	if err := c.setOffloads(fd); err != nil {
		return err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	local := name.(*unix.SockaddrInet4)
	c.local = netip.AddrPortFrom(netip.AddrFrom4(local.Addr), uint16(local.Port))
	return nil
}

// setOffloads turns on what is wanted and there.
func (c *Conn) setOffloads(fd int) error {
	if c.options.GRO != offload.Off {
		c.coalesce = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil // Linux 5.0
		if !c.coalesce && c.options.GRO == offload.On {
			return errors.New("the kernel has no UDP_GRO; use --udp-gro=auto or off")
		}
	}
	if c.options.GSO != offload.Off {
		_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT) // Linux 4.18
		c.segments.Store(err == nil)
		if err != nil && c.options.GSO == offload.On {
			return errors.New("the kernel has no UDP_SEGMENT; use --udp-gso=auto or off")
		}
	}
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

// Offloads says which offloads are in use now.
func (c *Conn) Offloads() Offloads { return Offloads{GSO: c.segments.Load(), GRO: c.coalesce} }

// Close closes the socket. A blocked ReadBatch or WriteBatch returns.
func (c *Conn) Close() error { return closed(c.file.Close()) }

// closed turns the error of a closed file into that of a closed connection.
func closed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	return err
}

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
