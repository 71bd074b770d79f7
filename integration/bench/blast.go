//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/integration/lab"
)

// burstMost is how many datagrams leave in one system call.
const burstMost = 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	len uint32
}

// socket is a blocking UDP socket on a host of the lab.
type socket struct {
	fd    int
	local netip.AddrPort
}

// openSocket opens a UDP socket of a host at a local address.
func openSocket(h *lab.Host, local netip.AddrPort) (s *socket, err error) {
	err = h.Do(func() (err error) {
		s, err = bindSocket(local)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open a socket on %s: %w", h.Name, err)
	}
	return s, nil
}

// bindSocket opens a UDP socket at a local address. Receiving gives up after a while with EAGAIN.
func bindSocket(local netip.AddrPort) (*socket, error) {
	domain := unix.AF_INET
	if local.Addr().Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	s := &socket{fd: fd}
	const bufferSize = 16 << 20
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}),
		unix.Bind(fd, sockaddr(local)),
	)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bind it to %v: %w", local, err), s.close())
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	s.local = addrPort(name)
	return s, nil
}

// joinBursts has the kernel hand over a burst (UDP_SEGMENT) in one piece. Otherwise the kernel cuts it up for this socket, and
// that on the sender's bill when no cable is between the two.
func (s *socket) joinBursts() error {
	return unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_GRO, 1)
}

func (s *socket) close() error { return unix.Close(s.fd) }

func (s *socket) connect(remote netip.AddrPort) error { return unix.Connect(s.fd, sockaddr(remote)) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

// setName writes an address in the kernel's form, and returns its size. IPv4 needs less room than there is.
func setName(name *unix.RawSockaddrInet6, a netip.AddrPort) (size uint32) {
	if a.Addr().Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(name)) = unix.RawSockaddrInet4{
			Family: unix.AF_INET, Port: networkOrder(a.Port()), Addr: a.Addr().As4(),
		}
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: networkOrder(a.Port()), Addr: a.Addr().As16()}
	return unix.SizeofSockaddrInet6
}

func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

func addrPort(name unix.Sockaddr) netip.AddrPort {
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port))
	}
	return netip.AddrPort{}
}

// sendAll sends datagrams that have their destinations.
func (s *socket) sendAll(headers []mmsghdr) error {
	for len(headers) > 0 {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&headers[0])), uintptr(len(headers)), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return fmt.Errorf("send from %v: %w", s.local, errno)
		}
		if errno == 0 {
			headers = headers[n:]
		}
	}
	return nil
}

// blast sends datagrams of one size over a connected socket at a rate (per second) for a time. It returns how many were
// sent, and the rate that it managed.
func (s *socket) blast(size int, rate float64, duration time.Duration) (sent int, managed float64, err error) {
	payload := make([]byte, size)
	iovec := unix.Iovec{Base: &payload[0]}
	iovec.SetLen(size)
	var headers [burstMost]mmsghdr
	for i := range headers {
		headers[i].Iov = &iovec
		headers[i].SetIovlen(1)
	}
	start := time.Now()
	for {
		passed := time.Since(start)
		if passed >= duration {
			return sent, float64(sent) / passed.Seconds(), nil
		}
		due := int(passed.Seconds()*rate) - sent
		if due < 1 {
			nap(time.Duration(float64(burstMost/2) / rate * float64(time.Second)))
			continue
		}
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&headers[0])), uintptr(min(due, burstMost)), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR && errno != unix.ENOBUFS {
			return sent, 0, fmt.Errorf("send to %v: %w", s.local, errno)
		}
		if errno == 0 {
			sent += int(n)
		}
	}
}

// nap sleeps without the runtime's timers, whose grain is a millisecond.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(min(d, time.Millisecond)))
	// When a signal cuts it short, the caller comes back.
	_ = unix.Nanosleep(&ts, nil)
}

// drain throws away what has come.
func (s *socket) drain() {
	var scrap [1]byte
	for {
		if _, _, err := unix.Recvfrom(s.fd, scrap[:], unix.MSG_DONTWAIT); err != nil {
			return
		}
	}
}

// count counts datagrams until stop is set and none has come for a while.
func (s *socket) count(stop *atomic.Bool) (received int) {
	var scrap byte
	iovec := unix.Iovec{Base: &scrap}
	iovec.SetLen(1)
	var headers [burstMost]mmsghdr
	for i := range headers {
		headers[i].Iov = &iovec
		headers[i].SetIovlen(1)
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&headers[0])), burstMost, unix.MSG_WAITFORONE, 0, 0)
		switch {
		case errno == 0:
			received += int(n)
		case errno != unix.EINTR && stop.Load():
			return received
		}
	}
}
