package netcfg

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
)

// LocalIPv4 returns the source address that the system would use toward the IPv4 address remote. Nothing is sent.
func LocalIPv4(remote netip.Addr) (netip.Addr, error) {
	if !remote.Is4() {
		return netip.Addr{}, fmt.Errorf("find the local address toward %s: not an IPv4 address", remote)
	}
	local, err := localToward(remote)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find the local address toward %s (is the network up?): %w", remote, err)
	}
	return local, nil
}

// Broadcasts returns the directed-broadcast address of each attached IPv4 subnet, in ascending order (SEC-V4-01).
// Subnets of one or two addresses (RFC 3021) and loopback have none.
func Broadcasts() ([]netip.Addr, error) {
	subnets, err := Subnets()
	if err != nil {
		return nil, err
	}
	var broadcasts []netip.Addr
	for _, s := range subnets {
		if s.Bits() <= 30 {
			broadcasts = append(broadcasts, directedBroadcast(s.Addr(), s.Bits()))
		}
	}
	slices.SortFunc(broadcasts, netip.Addr.Compare)
	return slices.Compact(broadcasts), nil
}

// directedBroadcast sets the host bits of an IPv4 address.
func directedBroadcast(addr netip.Addr, bits int) netip.Addr {
	b := addr.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|^uint32(0)>>bits)
	return netip.AddrFrom4(b)
}

// globalUnicast is where the IPv6 Internet has its addresses.
func globalUnicast() netip.Prefix { return netip.MustParsePrefix("2000::/3") }
