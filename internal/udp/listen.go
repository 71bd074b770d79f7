package udp

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

func checkLocal(a netip.Addr) error {
	switch {
	case !a.IsValid():
		return errors.New("no local address to listen on; choose an IPv4 address with --bind")
	case !a.Is4():
		return fmt.Errorf("local address %s is not IPv4; choose an IPv4 address with --bind", a)
	case a.IsMulticast():
		return fmt.Errorf("local address %s is a multicast address; choose an address of this host with --bind", a)
	}
	return nil
}

// explain says what went wrong when local was bound, and what to do about it.
func explain(local netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && local.Port() == 0:
		return &listenError{fmt.Sprintf("no UDP port of %s is free; choose another address with --bind",
			local.Addr()), err}
	case errors.Is(err, syscall.EADDRINUSE):
		return &listenError{fmt.Sprintf("UDP port %d of %s is in use by another program; stop it or choose another with --bind/--port",
			local.Port(), local.Addr()), err}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return &listenError{fmt.Sprintf("no interface of this host has address %s; choose another with --bind",
			local.Addr()), err}
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return &listenError{fmt.Sprintf("not permitted to open UDP port %d of %s; run with more privileges or choose another with --bind/--port",
			local.Port(), local.Addr()), err}
	}
	return fmt.Errorf("open UDP socket: %w", err)
}

// listenError replaces the words of the system's error, and keeps its identity.
type listenError struct {
	sentence string
	err      error
}

func (e *listenError) Error() string { return e.sentence }
func (e *listenError) Unwrap() error { return e.err }
