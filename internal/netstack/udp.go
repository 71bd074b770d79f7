package netstack

import (
	"bytes"
	"net"
	"net/netip"
	"syscall"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// UDPConn is a UDP socket. It is a net.Conn when it has a remote address, and a net.PacketConn in any case.
type UDPConn struct {
	*endpoint
	remote netip.AddrPort // that it is connected to, if it is
}

// DialUDP opens a socket that exchanges datagrams with a remote address.
func (s *Stack) DialUDP(remote netip.AddrPort) (*UDPConn, error) {
	c, err := s.dialUDP(remote)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "udp", Addr: net.UDPAddrFromAddrPort(remote), Err: err}
	}
	return c, nil
}

func (s *Stack) dialUDP(remote netip.AddrPort) (*UDPConn, error) {
	local := s.Addr()
	if !local.IsValid() {
		return nil, syscall.ENETUNREACH
	}
	e, err := s.listen(udp.ProtocolNumber, "udp", netip.AddrPortFrom(local, 0))
	if err != nil {
		return nil, err
	}
	if err := e.translate(e.Connect(fullAddress(remote))); err != nil {
		e.Close()
		return nil, err
	}
	return &UDPConn{e, remote}, nil
}

// ListenUDP opens a socket at a local address. The unspecified address stands for the one that the host has, now or later; port 0
// for one that is free.
func (s *Stack) ListenUDP(local netip.AddrPort) (*UDPConn, error) {
	e, err := s.listen(udp.ProtocolNumber, "udp", local)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(local), Err: err}
	}
	return &UDPConn{endpoint: e}, nil
}

// ReadFromUDPAddrPort receives a datagram. What does not fit into b is lost.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error) {
	w := tcpip.SliceWriter(b)
	var r tcpip.ReadResult
	err = c.try(&c.reading, func() (err tcpip.Error) {
		r, err = c.Endpoint.Read(&w, tcpip.ReadOptions{NeedRemoteAddr: true})
		return err
	})
	if err != nil {
		return 0, netip.AddrPort{}, c.failed("read", c.RemoteAddr(), err)
	}
	return r.Count, addrPort(r.RemoteAddr), nil
}

// ReadFrom implements net.PacketConn.
func (c *UDPConn) ReadFrom(b []byte) (n int, from net.Addr, err error) {
	n, remote, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return 0, nil, err
	}
	return n, net.UDPAddrFromAddrPort(remote), nil
}

// Read implements net.Conn.
func (c *UDPConn) Read(b []byte) (n int, err error) {
	n, _, err = c.ReadFromUDPAddrPort(b)
	return n, err
}

// Write implements net.Conn.
func (c *UDPConn) Write(b []byte) (n int, err error) {
	if !c.remote.IsValid() {
		return 0, c.failed("write", nil, syscall.EDESTADDRREQ)
	}
	return c.send(b, c.remote, tcpip.WriteOptions{})
}

// WriteTo implements net.PacketConn. The address is a *net.UDPAddr.
func (c *UDPConn) WriteTo(b []byte, to net.Addr) (n int, err error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, c.failed("write", to, syscall.EINVAL)
	}
	return c.WriteToUDPAddrPort(b, u.AddrPort())
}

// WriteToUDPAddrPort sends a datagram.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error) {
	switch {
	case c.remote.IsValid():
		return 0, c.failed("write", net.UDPAddrFromAddrPort(to), net.ErrWriteToConnected)
	case !to.IsValid() || !to.Addr().Is6() || to.Addr().Is4In6():
		return 0, c.failed("write", net.UDPAddrFromAddrPort(to), syscall.EAFNOSUPPORT)
	case !c.stack.Addr().IsValid():
		return 0, c.failed("write", net.UDPAddrFromAddrPort(to), syscall.ENETUNREACH)
	}
	full := fullAddress(to)
	return c.send(b, to, tcpip.WriteOptions{To: &full})
}

func (c *UDPConn) send(b []byte, to netip.AddrPort, o tcpip.WriteOptions) (n int, err error) {
	err = c.try(&c.writing, func() tcpip.Error {
		m, err := c.Endpoint.Write(bytes.NewReader(b), o)
		n = int(m)
		return err
	})
	return n, c.failed("write", net.UDPAddrFromAddrPort(to), err)
}
