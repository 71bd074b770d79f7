//go:build !linux

package netcfg

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
)

func unsupported() error {
	return fmt.Errorf("network configuration on %s: %w: run the suite on Linux", runtime.GOOS, errors.ErrUnsupported)
}

// ClientUp is not supported on this system.
func ClientUp(ifname string, mtu int) error { return unsupported() }

// RelayUp is not supported on this system.
func RelayUp(ifname string, mtu int, linkLocal netip.Addr) error { return unsupported() }

// SetAddress is not supported on this system.
func SetAddress(ifname string, addr netip.Addr) error { return unsupported() }

// ClearAddress is not supported on this system.
func ClearAddress(ifname string, addr netip.Addr) error { return unsupported() }

// Forwarding is not supported on this system.
func Forwarding() (bool, error) { return false, unsupported() }

// SetForwarding is not supported on this system.
func SetForwarding(on bool) error { return unsupported() }

// GlobalIPv6 finds no address on this system.
func GlobalIPv6() (netip.Addr, bool) { return netip.Addr{}, false }

// LocalIPv4 is not supported on this system.
func LocalIPv4(remote netip.Addr) (netip.Addr, error) { return netip.Addr{}, unsupported() }

// Broadcasts is not supported on this system.
func Broadcasts() ([]netip.Addr, error) { return nil, unsupported() }
