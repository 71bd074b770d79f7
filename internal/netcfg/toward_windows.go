package netcfg

import (
	"net/netip"
	"os"

	"golang.org/x/sys/windows"

	"github.com/teredo-suite/teredo/teredo"
)

// localToward returns the source address toward remote, by connecting a socket. Package net demands settings of UDP sockets that
// not every system has.
func localToward(remote netip.Addr) (netip.Addr, error) {
	family, to := windows.AF_INET6, windows.Sockaddr(&windows.SockaddrInet6{Addr: remote.As16(), Port: teredo.Port})
	if remote.Is4() {
		family, to = windows.AF_INET, &windows.SockaddrInet4{Addr: remote.As4(), Port: teredo.Port}
	}
	socket, err := windows.Socket(family, windows.SOCK_DGRAM, windows.IPPROTO_UDP)
	if err != nil {
		return netip.Addr{}, os.NewSyscallError("socket", err)
	}
	defer windows.Closesocket(socket)
	if err := windows.Connect(socket, to); err != nil {
		return netip.Addr{}, os.NewSyscallError("connect", err)
	}
	name, err := windows.Getsockname(socket)
	switch local := name.(type) {
	case *windows.SockaddrInet4:
		return netip.AddrFrom4(local.Addr), nil
	case *windows.SockaddrInet6:
		return netip.AddrFrom16(local.Addr), nil
	}
	return netip.Addr{}, os.NewSyscallError("getsockname", err)
}
