package udp

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
)

// ListenMulticast opens a socket for what is sent to an IPv4 multicast group and port on the interface that has the local
// address. It is bound to the group, so nothing that was sent by unicast arrives at it, and several programs may have one.
func ListenMulticast(group netip.AddrPort, local netip.Addr) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open multicast socket: %w", err)
	}
	if err := join(fd, group, local); err != nil {
		// The socket was not used.
		_ = unix.Close(fd)
		return nil, err
	}
	return newConn(fd, Options{GSO: offload.Off, GRO: offload.Off})
}

func join(fd int, group netip.AddrPort, local netip.Addr) error {
	mreq := &unix.IPMreq{Multiaddr: group.Addr().As4(), Interface: local.As4()}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("share port %d of %s: %w", group.Port(), group.Addr(), err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: group.Addr().As4(), Port: int(group.Port())}); err != nil {
		return fmt.Errorf("listen at %s: %w", group, err)
	}
	if err := unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, mreq); err != nil {
		return fmt.Errorf("join %s on the interface of %s: %w", group.Addr(), local, err)
	}
	return nil
}
