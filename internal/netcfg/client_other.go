//go:build !linux && !darwin && !freebsd && !openbsd

package netcfg

import "net/netip"

// ClientUp is not supported on this system.
func ClientUp(ifname string, mtu int) error { return unsupported() }

// TryClient is not supported on this system.
func TryClient(ifname string) error { return unsupported() }

// LimitSegments is not supported on this system.
func LimitSegments(ifname string, most int) error { return unsupported() }

// SetAddress is not supported on this system.
func SetAddress(ifname string, addr netip.Addr) error { return unsupported() }

// ClearAddress is not supported on this system.
func ClearAddress(ifname string, addr netip.Addr) error { return unsupported() }

// RestoreClient is not supported on this system.
func RestoreClient(ifname string, addr netip.Addr) (lost []string, err error) {
	return nil, unsupported()
}
