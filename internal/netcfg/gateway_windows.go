package netcfg

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Gateway returns the router that packets to the IPv4 address remote are handed to. It is false when there is no route, or one
// that leads to no router. Of routes with equal prefixes the one at the interface that the system chooses counts.
func Gateway(remote netip.Addr) (gateway netip.Addr, ok bool) {
	var index uint32
	if err := windows.GetBestInterfaceEx(&windows.SockaddrInet4{Addr: remote.As4()}, &index); err != nil {
		return netip.Addr{}, false
	}
	var table *windows.MibIpForwardTable2
	if err := windows.GetIpForwardTable2(windows.AF_INET, &table); err != nil {
		return netip.Addr{}, false
	}
	defer windows.FreeMibTable(unsafe.Pointer(table))
	var best *windows.MibIpForwardRow2
	for i, row := range table.Rows() {
		to := netip.PrefixFrom(inet4(&row.DestinationPrefix.Prefix), int(row.DestinationPrefix.PrefixLength))
		if row.InterfaceIndex != index || !to.Contains(remote) {
			continue
		}
		if best == nil || row.DestinationPrefix.PrefixLength > best.DestinationPrefix.PrefixLength ||
			row.DestinationPrefix.PrefixLength == best.DestinationPrefix.PrefixLength && row.Metric < best.Metric {
			best = &table.Rows()[i]
		}
	}
	if best == nil {
		return netip.Addr{}, false
	}
	gateway = inet4(&best.NextHop)
	return gateway, !gateway.IsUnspecified()
}

func inet4(a *windows.RawSockaddrInet) netip.Addr {
	return netip.AddrFrom4((*windows.RawSockaddrInet4)(unsafe.Pointer(a)).Addr)
}
