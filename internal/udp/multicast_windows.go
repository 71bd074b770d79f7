package udp

import (
	"errors"
	"fmt"
	"net/netip"
)

// ListenMulticast is not available: a socket of Windows cannot be bound to a group alone, so it would take unicast for multicast.
func ListenMulticast(group netip.AddrPort, local netip.Addr) (*Conn, error) {
	return nil, fmt.Errorf("listen at %s: %w", group, errors.ErrUnsupported)
}
