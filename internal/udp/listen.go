package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// Errors of Listen and ListenGroup when an offload was demanded (offload.On).
var (
	ErrNoGSO = errors.New("the kernel has no UDP_SEGMENT")
	ErrNoGRO = errors.New("the kernel has no UDP_GRO")
)

// ListenError is the error of Listen and ListenGroup when no socket can be bound to the local address and port. It says why in
// one sentence.
type ListenError struct {
	Local netip.AddrPort
	Err   error // the system's, such as syscall.EADDRINUSE; nil: Local is not a unicast IPv4 address
}

func (e *ListenError) Unwrap() error { return e.Err }

func (e *ListenError) Error() string {
	addr, port := e.Local.Addr(), e.Local.Port()
	switch {
	case !addr.IsValid():
		return "no local address to listen on"
	case !addr.Is4():
		return fmt.Sprintf("local address %s is not an IPv4 address", addr)
	case addr.IsMulticast():
		return fmt.Sprintf("local address %s is a multicast address", addr)
	case errors.Is(e.Err, syscall.EADDRINUSE) && port == 0:
		return fmt.Sprintf("no UDP port of %s is free", addr)
	case errors.Is(e.Err, syscall.EADDRINUSE):
		return fmt.Sprintf("UDP port %d of %s is in use by another program", port, addr)
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("no interface of this host has address %s", addr)
	case errors.Is(e.Err, syscall.EACCES), errors.Is(e.Err, syscall.EPERM):
		return fmt.Sprintf("not permitted to open UDP port %d of %s; run with more privileges", port, addr)
	}
	return fmt.Sprintf("open a UDP socket at %s: %v", e.Local, e.Err)
}

func checkLocal(local netip.AddrPort) error {
	if a := local.Addr(); !a.Is4() || a.IsMulticast() {
		return &ListenError{Local: local}
	}
	return nil
}
