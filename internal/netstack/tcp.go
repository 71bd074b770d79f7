package netstack

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	keepAlive      = 15 * time.Second // as package net has it: idle time, and time between probes
	keepAliveCount = 9                // probes without an answer that end a connection
	backlog        = 4096             // connections that wait for Accept
	copySize       = 64 << 10
)

// TCPConn is a TCP connection. It has the methods of net.TCPConn that make sense here.
type TCPConn struct{ *endpoint }

// DialTCP connects to a remote address. The source address is the host's.
func (s *Stack) DialTCP(ctx context.Context, remote netip.AddrPort) (net.Conn, error) {
	c, err := s.dialTCP(ctx, remote)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

func (s *Stack) dialTCP(ctx context.Context, remote netip.AddrPort) (*TCPConn, error) {
	local := s.Addr()
	if !local.IsValid() {
		return nil, syscall.ENETUNREACH
	}
	ep, queue, err := s.newEndpoint(tcp.ProtocolNumber)
	if err != nil {
		return nil, err
	}
	e := s.endpoint(ep, queue, "tcp", local)
	defer context.AfterFunc(ctx, e.writing.wake)()
	started := false
	err = e.try(&e.writing, func() tcpip.Error {
		if ctx.Err() != nil {
			return nil
		}
		if started {
			return connected(ep)
		}
		started = true
		err := ep.Connect(fullAddress(remote))
		if _, ok := err.(*tcpip.ErrConnectStarted); ok {
			return &tcpip.ErrWouldBlock{}
		}
		return err
	})
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	e.keepAlive(keepAlive)
	return &TCPConn{e}, nil
}

// connected is nil when the handshake of an endpoint is over, and ErrWouldBlock before that.
func connected(ep tcpip.Endpoint) tcpip.Error {
	if err := ep.LastError(); err != nil {
		return err
	}
	switch tcp.EndpointState(ep.State()) {
	case tcp.StateConnecting, tcp.StateSynSent, tcp.StateSynRecv:
		return &tcpip.ErrWouldBlock{}
	}
	return nil
}

// fault describes an operation that has failed, if it has.
func (c *TCPConn) fault(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return c.failed(op, c.RemoteAddr(), err)
}

// Read implements net.Conn.
func (c *TCPConn) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	n, err = c.read(b)
	return n, c.fault("read", err)
}

func (c *TCPConn) read(b []byte) (n int, err error) {
	w := tcpip.SliceWriter(b)
	err = c.try(&c.reading, func() tcpip.Error {
		r, err := c.Endpoint.Read(&w, tcpip.ReadOptions{})
		n = r.Count
		return err
	})
	if n > 0 {
		c.ModerateRecvBuf(n)
	}
	return n, err
}

// Write implements net.Conn.
func (c *TCPConn) Write(b []byte) (n int, err error) {
	var r bytes.Reader
	defer r.Reset(nil) // the stack keeps it
	err = c.try(&c.writing, func() tcpip.Error {
		for n < len(b) {
			r.Reset(b[n:])
			m, err := c.Endpoint.Write(&r, tcpip.WriteOptions{})
			n += int(m)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, c.fault("write", err)
}

// buffers are for copying. A connection has one only while data flow.
var buffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// WriteTo implements io.WriterTo. It holds no buffer while the connection is idle.
func (c *TCPConn) WriteTo(w io.Writer) (n int64, err error) {
	for {
		if err := c.Await(); err != nil {
			return n, err
		}
		m, err := c.Pass(w)
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// Await waits until there is something to read: data, their end or an error. It needs little stack.
func (c *TCPConn) Await() error {
	return c.fault("read", c.try(&c.reading, c.readable))
}

// readable is nil when there is something to read.
func (c *TCPConn) readable() tcpip.Error {
	if c.Readiness(waiter.ReadableEvents) == 0 {
		return &tcpip.ErrWouldBlock{}
	}
	return nil
}

// Pass writes what there is to read, until Await would wait. At the end of the data the error is io.EOF.
func (c *TCPConn) Pass(w io.Writer) (n int64, err error) {
	buffer := buffers.Get().(*[copySize]byte)
	defer buffers.Put(buffer)
	for c.readable() == nil {
		m, err := c.read(buffer[:])
		if err != nil {
			return n, c.fault("read", err)
		}
		written, err := w.Write(buffer[:m])
		n += int64(written)
		if err == nil && written < m {
			err = io.ErrShortWrite
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// CloseRead has Read return io.EOF. What the peer sends from now on is dropped.
func (c *TCPConn) CloseRead() error { return c.shutdown(tcpip.ShutdownRead) }

// CloseWrite tells the peer that nothing more comes. Reading goes on.
func (c *TCPConn) CloseWrite() error { return c.shutdown(tcpip.ShutdownWrite) }

func (c *TCPConn) shutdown(how tcpip.ShutdownFlags) error {
	err := c.ended()
	if err == nil {
		err = c.translate(c.Shutdown(how))
	}
	return c.fault("close", err)
}

// SetKeepAlive turns probes of an idle connection on or off. They are on until then, as in package net.
func (c *TCPConn) SetKeepAlive(on bool) error {
	c.SocketOptions().SetKeepAlive(on)
	return nil
}

// SetKeepAlivePeriod sets for how long a connection must be idle before a probe, and the time between probes.
func (c *TCPConn) SetKeepAlivePeriod(d time.Duration) error {
	c.keepAlive(d)
	return nil
}

// SetNoDelay says whether small segments are sent at once, as they are until then, or are gathered (RFC 896).
func (c *TCPConn) SetNoDelay(on bool) error {
	c.SocketOptions().SetDelayOption(!on)
	return nil
}

// SetLinger says what Close does with data that have not been acknowledged: for a negative number they are sent in the background,
// for zero they are dropped and the peer gets a reset.
func (c *TCPConn) SetLinger(seconds int) error {
	c.SocketOptions().SetLinger(tcpip.LingerOption{Enabled: seconds >= 0, Timeout: time.Duration(seconds) * time.Second})
	return nil
}

// keepAlive turns probes on.
func (e *endpoint) keepAlive(period time.Duration) {
	idle, interval := tcpip.KeepaliveIdleOption(period), tcpip.KeepaliveIntervalOption(period)
	_ = e.SetSockOpt(&idle) // these options exist
	_ = e.SetSockOpt(&interval)
	_ = e.SetSockOptInt(tcpip.KeepaliveCountOption, keepAliveCount)
	e.SocketOptions().SetKeepAlive(true)
}

// TCPListener waits for TCP connections.
type TCPListener struct{ *endpoint }

// ListenTCP listens at a local address. The unspecified address stands for the one that the host has, now or later; port 0 for one
// that is free.
func (s *Stack) ListenTCP(local netip.AddrPort) (net.Listener, error) {
	e, err := s.listen(tcp.ProtocolNumber, "tcp", local)
	if err == nil {
		if err = e.translate(e.Listen(backlog)); err == nil {
			return &TCPListener{e}, nil
		}
		e.Close()
	}
	return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(local), Err: err}
}

// listen binds an endpoint to a local address.
func (s *Stack) listen(protocol tcpip.TransportProtocolNumber, network string, local netip.AddrPort) (*endpoint, error) {
	ep, queue, err := s.newEndpoint(protocol)
	if err != nil {
		return nil, err
	}
	bound := local.Addr()
	if bound.IsUnspecified() {
		bound = netip.Addr{}
	}
	e := s.endpoint(ep, queue, network, bound)
	err = e.ended()
	if err == nil {
		err = e.translate(ep.Bind(fullAddress(local)))
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Accept implements net.Listener.
func (l *TCPListener) Accept() (net.Conn, error) {
	var ep tcpip.Endpoint
	var queue *waiter.Queue
	err := l.try(&l.reading, func() (err tcpip.Error) {
		ep, queue, err = l.Endpoint.Accept(nil)
		return err
	})
	if err != nil {
		return nil, l.failed("accept", nil, err)
	}
	var local netip.Addr
	if a, err := ep.GetLocalAddress(); err == nil {
		local = addrPort(a).Addr()
	}
	e := l.stack.endpoint(ep, queue, "tcp", local)
	e.keepAlive(keepAlive)
	return &TCPConn{e}, nil
}

// Addr implements net.Listener.
func (l *TCPListener) Addr() net.Addr { return l.LocalAddr() }
