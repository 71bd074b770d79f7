//go:build !linux

package udp

import (
	"errors"
	"fmt"
	"net/netip"
)

// ListenMulticast is not available on this system.
func ListenMulticast(group netip.AddrPort, local netip.Addr) (*Conn, error) {
	return nil, fmt.Errorf("listen at %s: %w", group, errors.ErrUnsupported)
}
