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
	gso      atomic.Bool // several datagrams may leave as one (UDP_SEGMENT)
	gro      bool        // several datagrams may arrive as one (UDP_GRO)
}

// Listen opens a socket on a local IPv4 address, which may be 0.0.0.0. Port 0
// lets the kernel choose a port. The error is a *ListenError, ErrNoGSO,
// ErrNoGRO, or one of a system call that should not fail.
func Listen(local netip.AddrPort, o Options) (*Conn, error) {
	conns, err := ListenGroup(local, 1, o)
	if err != nil {
		return nil, err
	}
	return conns[0], nil
}

// ListenGroup is Listen with several sockets on one address and port. The kernel spreads remotes over them (SO_REUSEPORT).
//
// The first socket sets SO_REUSEPORT only after it is bound. So it fails when another program has the port, even if that
// program set the option, too.
func ListenGroup(local netip.AddrPort, size int, o Options) (conns []*Conn, err error) {
	if err := checkLocal(local); err != nil {
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

// listen opens a socket. With join it shares the port of sockets that exist; with shared, others can join it later.
func listen(local netip.AddrPort, join, shared bool, o Options) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, &ListenError{local, os.NewSyscallError("socket", err)}
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
		_ = unix.Close(fd) // nothing was sent that closing could lose
		return nil, &ListenError{local, err}
	}
	return newConn(fd, o)
}

func share(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// Adopt takes over the descriptor of a bound socket, which another process may have, too, also when it fails.
func Adopt(fd int, o Options) (*Conn, error) { return newConn(fd, o) }

// Share calls use with the socket's descriptor, which stays open meanwhile.
func (c *Conn) Share(use func(fd int) error) error { return c.file.Share(use) }

// StopReading ends ReadBatch, as Close does. Datagrams can still be sent.
func (c *Conn) StopReading() error { return c.file.StopReading() }

// newConn takes over a bound socket, also when it fails.
func newConn(fd int, o Options) (c *Conn, err error) {
	c = &Conn{options: o, receiver: newReceiver()}
	if err = c.prepare(fd); err == nil {
		c.file, err = descriptor.NewReader(fd, c.receiver.receive)
	}
	if err != nil {
		_ = unix.Close(fd) // nothing was sent that closing could lose
		return nil, fmt.Errorf("prepare UDP socket: %w", err)
	}
	c.senders.New = func() any { return newSender(c) }
	return c, nil
}

// prepare sets what Teredo demands of its outer packets, which must succeed,
// and the sizes of the kernel's buffers, which need not.
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

// setOffloads turns on the offloads that are wanted and that the kernel has.
func (c *Conn) setOffloads(fd int) error {
	if c.options.GRO != offload.Off {
		c.gro = unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil // Linux 5.0
		if !c.gro && c.options.GRO == offload.On {
			return ErrNoGRO
		}
	}
	if c.options.GSO != offload.Off {
		_, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT) // Linux 4.18
		c.gso.Store(err == nil)
		if err != nil && c.options.GSO == offload.On {
			return ErrNoGSO
		}
	}
	return nil
}

// enlarge sets the size of a kernel buffer. Without the privilege to exceed the
// system's limit (net.core.rmem_max, wmem_max), the limit applies.
func enlarge(fd, force, option int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bufferSize) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bufferSize)
	}
}

// LocalAddr returns the address and port the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.local }

// Offloads tells which offloads are in use now.
func (c *Conn) Offloads() Offloads { return Offloads{GSO: c.gso.Load(), GRO: c.gro} }

// Close closes the socket. A blocked ReadBatch or WriteBatch returns.
func (c *Conn) Close() error { return closed(c.file.Close()) }

// closed turns os.ErrClosed into net.ErrClosed.
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

// sockaddr is struct sockaddr_in of ip(7). Port and address are in network byte
// order.
type sockaddr struct {
	family uint16
	port   [2]byte
	addr   [4]byte
	_      [8]byte
}

func (a *sockaddr) set(remote netip.AddrPort) {
	binary.BigEndian.PutUint16(a.port[:], remote.Port())
	a.addr = remote.Addr().As4()
}

func (a *sockaddr) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a.addr), binary.BigEndian.Uint16(a.port[:]))
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
