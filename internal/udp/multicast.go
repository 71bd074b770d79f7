//go:build unix

package udp

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/offload"
)

// ListenMulticast opens a socket that receives what is sent to an IPv4 multicast group and port, on the interface that has the
// local address. The socket is bound to the group, so it receives no unicast, and several programs may have one at once.
func ListenMulticast(group netip.AddrPort, local netip.Addr) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, fmt.Errorf("open multicast socket: %w", err)
	}
	unix.CloseOnExec(fd)
	if err := join(fd, group, local); err != nil {
		_ = unix.Close(fd) // nothing was sent that closing could lose
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", err)
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
