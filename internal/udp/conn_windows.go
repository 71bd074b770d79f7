package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Conn is an IPv4 UDP socket. One goroutine at a time may call ReadBatch;
// the other methods may be called by any number of goroutines at once.
//
// It is made of Winsock calls and not of a net.UDPConn, because package net demands settings that not every Windows has, nor
// Wine, and has none for Don't Fragment.
type Conn struct {
	local   netip.AddrPort
	socket  windows.Handle
	closed  atomic.Bool
	use     sync.RWMutex // for writing: the socket and the events go
	reader  reader
	senders sync.Pool // of *sender: as many as there are concurrent writers
}

// reader is what the system fills while ReadBatch waits.
type reader struct {
	pending  windows.Overlapped
	events   [2]windows.Handle // there is a datagram; Close was called
	buffer   windows.WSABuf
	from     windows.RawSockaddrAny
	fromLen  int32
	received uint32
	flags    uint32
}

// sender is what the system reads when a datagram is sent.
type sender struct {
	parts [2]windows.WSABuf
	to    windows.RawSockaddrAny
	sent  uint32
}

// Options of ws2ipdef.h and mswsock.h.
const (
	ipDontFragment    = 14
	sioUDPNetReset    = windows.IOC_IN | windows.IOC_VENDOR | 15
	sizeofSockaddrIn4 = int32(unsafe.Sizeof(windows.RawSockaddrInet4{}))
)

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
	socket, err := windows.WSASocket(windows.AF_INET, windows.SOCK_DGRAM, windows.IPPROTO_UDP, nil, 0,
		windows.WSA_FLAG_OVERLAPPED|windows.WSA_FLAG_NO_HANDLE_INHERIT)
	if err != nil {
		return nil, &ListenError{local, os.NewSyscallError("socket", err)}
	}
	prepare(socket)
	if err := windows.Bind(socket, &windows.SockaddrInet4{Addr: local.Addr().As4(), Port: int(local.Port())}); err != nil {
		windows.Closesocket(socket)
		return nil, &ListenError{local, os.NewSyscallError("bind", portable(err))}
	}
	c, err := newConn(socket)
	if err != nil {
		windows.Closesocket(socket)
		return nil, fmt.Errorf("prepare UDP socket: %w", err)
	}
	return c, nil
}

// prepare sets what Teredo demands of its outer packets, and what a system may lack: ReadBatch knows the errors of ICMP messages
// that some systems go on to report.
func prepare(socket windows.Handle) {
	for _, o := range []struct{ level, option, value int }{
		{windows.IPPROTO_IP, ipDontFragment, 0},
		{windows.SOL_SOCKET, windows.SO_RCVBUF, bufferSize},
		{windows.SOL_SOCKET, windows.SO_SNDBUF, bufferSize},
	} {
		_ = windows.SetsockoptInt(socket, o.level, o.option, o.value)
	}
	for _, report := range []uint32{windows.SIO_UDP_CONNRESET, sioUDPNetReset} {
		var off, size uint32
		_ = windows.WSAIoctl(socket, report, (*byte)(unsafe.Pointer(&off)), uint32(unsafe.Sizeof(off)), nil, 0, &size, nil, 0)
	}
}

func newConn(socket windows.Handle) (*Conn, error) {
	name, err := windows.Getsockname(socket)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	bound := name.(*windows.SockaddrInet4)
	c := &Conn{socket: socket, local: netip.AddrPortFrom(netip.AddrFrom4(bound.Addr), uint16(bound.Port))}
	for i := range c.reader.events {
		if c.reader.events[i], err = windows.CreateEvent(nil, 1, 0, nil); err != nil {
			return nil, os.NewSyscallError("CreateEvent", err)
		}
	}
	c.reader.pending.HEvent = c.reader.events[0]
	buffer := make([]byte, maxPayload)
	c.reader.buffer = windows.WSABuf{Len: maxPayload, Buf: &buffer[0]}
	c.senders.New = func() any { return new(sender) }
	return c, nil
}

// ReadBatch waits for a datagram and fills the first message with it. Its
// bytes belong to the Conn and are valid until the next call. After Close the
// error is net.ErrClosed. Nothing is allocated.
func (c *Conn) ReadBatch(ms []Message) (n int, err error) {
	if len(ms) == 0 {
		return 0, nil
	}
	c.use.RLock()
	defer c.use.RUnlock()
	for {
		switch err := c.receive(); err {
		case nil:
			r := &c.reader
			ms[0] = Message{Buf: unsafe.Slice(r.buffer.Buf, maxPayload), N: int(r.received), Remote: addrPort(&r.from)}
			return 1, nil
		case windows.WSAECONNRESET, windows.WSAENETRESET, windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.ERROR_PORT_UNREACHABLE:
			continue // an ICMP message about a datagram sent before
		case net.ErrClosed:
			return 0, net.ErrClosed
		default:
			return 0, os.NewSyscallError("wsarecvfrom", err)
		}
	}
}

// receive waits for a datagram, an error, or Close.
func (c *Conn) receive() error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	r := &c.reader
	if err := windows.ResetEvent(r.pending.HEvent); err != nil {
		return err
	}
	r.fromLen, r.flags = int32(unsafe.Sizeof(r.from)), 0
	err := windows.WSARecvFrom(c.socket, &r.buffer, 1, &r.received, &r.flags, &r.from, &r.fromLen, &r.pending, nil)
	if err != nil && err != windows.ERROR_IO_PENDING {
		return err
	}
	if err != nil {
		if _, err := windows.WaitForMultipleObjects(r.events[:], false, windows.INFINITE); err != nil {
			return err
		}
		if c.closed.Load() {
			_ = windows.CancelIoEx(c.socket, &r.pending) // fails only when a datagram has just come
		}
	}
	// The system writes to r no more when this returns.
	err = windows.WSAGetOverlappedResult(c.socket, &r.pending, &r.received, true, &r.flags)
	if c.closed.Load() {
		return net.ErrClosed
	}
	return err
}

func (c *Conn) write(m *Message) error {
	if !sendable(m.Remote) {
		return ErrRemote
	}
	c.use.RLock()
	defer c.use.RUnlock()
	if c.closed.Load() {
		return net.ErrClosed
	}
	s := c.senders.Get().(*sender)
	defer c.senders.Put(s)
	s.parts[0] = windows.WSABuf{Len: uint32(m.N), Buf: unsafe.SliceData(m.Buf)}
	s.parts[1] = windows.WSABuf{Len: uint32(len(m.Tail)), Buf: unsafe.SliceData(m.Tail)}
	to := (*windows.RawSockaddrInet4)(unsafe.Pointer(&s.to))
	*to = windows.RawSockaddrInet4{Family: windows.AF_INET, Addr: m.Remote.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&to.Port))[:], m.Remote.Port())
	err := windows.WSASendTo(c.socket, &s.parts[0], uint32(len(s.parts)), &s.sent, 0, &s.to, sizeofSockaddrIn4, nil, nil)
	return os.NewSyscallError("wsasendto", err)
}

// Close closes the socket. A blocked ReadBatch returns.
func (c *Conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	_ = windows.SetEvent(c.reader.events[1])
	c.use.Lock() // waits for ReadBatch and WriteBatch to leave
	defer c.use.Unlock()
	err := windows.Closesocket(c.socket)
	for _, event := range c.reader.events {
		windows.CloseHandle(event)
	}
	return os.NewSyscallError("closesocket", err)
}

func addrPort(from *windows.RawSockaddrAny) netip.AddrPort {
	in4 := (*windows.RawSockaddrInet4)(unsafe.Pointer(from))
	return netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&in4.Port))[:]))
}

// portable is an error of Winsock as the number that other systems have for it, which package syscall knows, too.
func portable(err error) error {
	switch err {
	case windows.WSAEADDRINUSE, windows.WSAEACCES: // the latter for a port that another has to itself, or the system reserves
		return syscall.EADDRINUSE
	case windows.WSAEADDRNOTAVAIL:
		return syscall.EADDRNOTAVAIL
	}
	return err
}
