//go:build unix && !linux

package netcfg

import (
	"net"
	"net/netip"
)

// look looks at all interfaces.
func look() (map[string]seen, error) {
	ifs, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	all := make(map[string]seen, len(ifs))
	for _, ifi := range ifs {
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it has just gone
		}
		is := seen{up: ifi.Flags&net.FlagRunning != 0}
		for _, a := range addrs {
			subnet, isSubnet := a.(*net.IPNet)
			if !isSubnet {
				continue
			}
			if addr, ok := netip.AddrFromSlice(subnet.IP); ok {
				bits, _ := subnet.Mask.Size()
				is.addresses = append(is.addresses, netip.PrefixFrom(addr.Unmap(), bits))
			}
		}
		all[ifi.Name] = is
	}
	return all, nil
}
