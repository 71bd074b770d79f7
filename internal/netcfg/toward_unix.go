//go:build unix

package netcfg

import (
	"net"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// localToward returns the source address toward remote. Connecting a socket asks every rule that a datagram of ours would meet,
// policy routing included.
func localToward(remote netip.Addr) (netip.Addr, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, teredo.Port)))
	if err != nil {
		return netip.Addr{}, err
	}
	defer conn.Close()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}
