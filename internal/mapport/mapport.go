// Package mapport says how a gateway is asked for a UDP port.
package mapport

import "net/netip"

// Request asks the gateway toward a server to map a UDP port to a local one.
type Request struct {
	Server netip.Addr
	Local  netip.AddrPort
	// Changed is told the first result, and each other one: the zero AddrPort when there is no mapping.
	Changed func(external netip.AddrPort, protocol string)
}
