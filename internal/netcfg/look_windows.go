package netcfg

import (
	"errors"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// look looks at all interfaces. It asks for less than package net does, which Wine cannot answer.
func look() (map[string]seen, error) {
	size := uint32(16 << 10)
	for {
		buffer := make([]byte, size)
		first := (*windows.IpAdapterAddresses)(unsafe.Pointer(&buffer[0]))
		err := windows.GetAdaptersAddresses(windows.AF_UNSPEC, 0, 0, first, &size)
		switch {
		case errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) && int(size) > len(buffer):
			continue
		case errors.Is(err, windows.ERROR_NO_DATA):
			return nil, nil
		case err != nil:
			return nil, os.NewSyscallError("GetAdaptersAddresses", err)
		}
		all := make(map[string]seen)
		for a := first; a != nil; a = a.Next {
			is := seen{up: a.OperStatus == windows.IfOperStatusUp}
			for u := a.FirstUnicastAddress; u != nil; u = u.Next {
				if addr, ok := netip.AddrFromSlice(u.Address.IP()); ok {
					is.addresses = append(is.addresses, netip.PrefixFrom(addr.Unmap(), int(u.OnLinkPrefixLength)))
				}
			}
			all[windows.UTF16PtrToString(a.FriendlyName)] = is
		}
		return all, nil
	}
}
