package netstack

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/waiter"
)

// endpoint is what connections, listeners and packet connections have in common.
type endpoint struct {
	tcpip.Endpoint
	stack   *Stack
	network string // tcp or udp

	reading, writing half
	cause            atomic.Pointer[error] // why the endpoint has ended: Close was called, or the host has ended it
}

// endpoint wraps an endpoint of the stack. local is the address that it is bound to, if it is bound to one: it ends when the host
// gets another one.
func (s *Stack) endpoint(ep tcpip.Endpoint, queue *waiter.Queue, network string, local netip.Addr) *endpoint {
	e := &endpoint{Endpoint: ep, stack: s, network: network}
	e.reading.init(queue, waiter.ReadableEvents)
	e.writing.init(queue, waiter.WritableEvents)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[e] = local.IsValid()
	switch {
	case s.closed:
		e.fail(net.ErrClosed)
	case local.IsValid() && local != s.address:
		e.fail(ErrAddressChanged)
	}
	return e
}

// try does an operation, again and again until it does not block any more, the deadline has passed, or the endpoint has ended.
func (e *endpoint) try(h *half, operation func() tcpip.Error) error {
	h.Lock()
	defer h.Unlock()
	for {
		if err := e.ended(); err != nil {
			return err
		}
		if h.expired() {
			return os.ErrDeadlineExceeded
		}
		err := operation()
		if _, blocks := err.(*tcpip.ErrWouldBlock); !blocks {
			return e.translate(err)
		}
		h.wait()
	}
}

// ended is why the endpoint has ended; nil: it has not.
func (e *endpoint) ended() error {
	if cause := e.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// translate makes an error of package syscall or io of one of the stack, unless the endpoint has ended for another reason.
func (e *endpoint) translate(err tcpip.Error) error {
	if err == nil {
		return nil
	}
	if cause := e.ended(); cause != nil {
		return cause
	}
	return failure(err)
}

// failure is the system's error for one of the stack.
func failure(err tcpip.Error) error {
	switch err.(type) {
	case *tcpip.ErrClosedForReceive:
		return io.EOF
	case *tcpip.ErrClosedForSend:
		return syscall.EPIPE
	case *tcpip.ErrTimeout:
		return syscall.ETIMEDOUT
	case *tcpip.ErrConnectionRefused:
		return syscall.ECONNREFUSED
	case *tcpip.ErrConnectionReset:
		return syscall.ECONNRESET
	case *tcpip.ErrConnectionAborted, *tcpip.ErrAborted:
		return syscall.ECONNABORTED
	case *tcpip.ErrHostUnreachable, *tcpip.ErrHostDown:
		return syscall.EHOSTUNREACH
	case *tcpip.ErrNetworkUnreachable, *tcpip.ErrNoNet:
		return syscall.ENETUNREACH
	case *tcpip.ErrPortInUse:
		return syscall.EADDRINUSE
	case *tcpip.ErrBadLocalAddress, *tcpip.ErrNoPortAvailable:
		return syscall.EADDRNOTAVAIL
	case *tcpip.ErrMessageTooLong:
		return syscall.EMSGSIZE
	case *tcpip.ErrNoBufferSpace:
		return syscall.ENOBUFS
	case *tcpip.ErrNotConnected:
		return syscall.ENOTCONN
	case *tcpip.ErrInvalidEndpointState, *tcpip.ErrBadAddress:
		return syscall.EINVAL
	}
	return errors.New(err.String())
}

// failed describes an operation that has failed. io.EOF is the end of a stream, and stays as it is.
func (e *endpoint) failed(op string, remote net.Addr, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: e.network, Source: e.LocalAddr(), Addr: remote, Err: err}
}

// end notes why the endpoint ends, and wakes who waits. It is false if it has ended before.
func (e *endpoint) end(cause error) bool {
	first := e.cause.CompareAndSwap(nil, &cause)
	e.reading.wake()
	e.writing.wake()
	return first
}

// fail ends the endpoint from the side of the host. It stays in the list of open ones until Close.
func (e *endpoint) fail(cause error) {
	if e.end(cause) {
		e.Abort()
	}
}

// Close implements net.Conn, net.Listener and net.PacketConn.
func (e *endpoint) Close() error {
	e.stack.mu.Lock()
	_, open := e.stack.open[e]
	delete(e.stack.open, e)
	e.stack.mu.Unlock()
	if !open {
		return e.failed("close", nil, net.ErrClosed)
	}
	closed := net.ErrClosed
	e.cause.Store(&closed)
	e.reading.setDeadline(time.Time{})
	e.writing.setDeadline(time.Time{})
	e.Endpoint.Close()
	return nil
}

// LocalAddr implements net.Conn.
func (e *endpoint) LocalAddr() net.Addr {
	a, err := e.GetLocalAddress()
	return e.netAddr(a, err)
}

// RemoteAddr implements net.Conn. It is nil for what has no remote side.
func (e *endpoint) RemoteAddr() net.Addr {
	a, err := e.GetRemoteAddress()
	return e.netAddr(a, err)
}

func (e *endpoint) netAddr(a tcpip.FullAddress, err tcpip.Error) net.Addr {
	switch {
	case err != nil:
		return nil
	case e.network == "udp":
		return net.UDPAddrFromAddrPort(addrPort(a))
	}
	return net.TCPAddrFromAddrPort(addrPort(a))
}

// addrPort is an address of the stack. It names the unspecified address by an empty one.
func addrPort(a tcpip.FullAddress) netip.AddrPort {
	if a.Addr.Len() == 0 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(a.Addr.As16()), a.Port)
}

// fullAddress is addrPort turned round.
func fullAddress(a netip.AddrPort) tcpip.FullAddress {
	full := tcpip.FullAddress{NIC: nic, Port: a.Port()}
	if !a.Addr().IsUnspecified() {
		full.Addr = tcpip.AddrFrom16(a.Addr().As16())
	}
	return full
}

// newEndpoint makes an endpoint of a transport protocol.
func (s *Stack) newEndpoint(protocol tcpip.TransportProtocolNumber) (tcpip.Endpoint, *waiter.Queue, error) {
	queue := new(waiter.Queue)
	ep, err := s.stack.NewEndpoint(protocol, ipv6.ProtocolNumber, queue)
	if err != nil {
		return nil, nil, failure(err)
	}
	return ep, queue, nil
}

// SetDeadline implements net.Conn.
func (e *endpoint) SetDeadline(t time.Time) error {
	return errors.Join(e.SetReadDeadline(t), e.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (e *endpoint) SetReadDeadline(t time.Time) error { return e.setDeadline(&e.reading, t) }

// SetWriteDeadline implements net.Conn.
func (e *endpoint) SetWriteDeadline(t time.Time) error { return e.setDeadline(&e.writing, t) }

func (e *endpoint) setDeadline(h *half, t time.Time) error {
	if err := e.ended(); err != nil {
		return e.failed("set", nil, err)
	}
	h.setDeadline(t)
	return nil
}
