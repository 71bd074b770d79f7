package server

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// rawSocket is a raw IPv6 socket. The kernel finds the route, and takes source address and hop limit as they are.
type rawSocket struct {
	fd int
	to unix.SockaddrInet6 // kept here: a local one would be allocated for every packet
}

// openRaw needs the capability CAP_NET_RAW.
func openRaw() (nativeSender, error) {
	const typ = unix.SOCK_RAW | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	fd, err := unix.Socket(unix.AF_INET6, typ, unix.IPPROTO_RAW)
	if err != nil {
		return nil, fmt.Errorf("opening a raw IPv6 socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_HDRINCL, 1); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("asking to send whole IPv6 headers: %w", err)
	}
	return &rawSocket{fd: fd}, nil
}

// Send hands one packet to the kernel. It does not block: when the socket's buffer is full, the packet is refused.
func (r *rawSocket) Send(dst netip.Addr, ipv6 []byte) error {
	r.to.Addr = dst.As16()
	return unix.Sendto(r.fd, ipv6, 0, &r.to)
}

func (r *rawSocket) Close() error { return unix.Close(r.fd) }
