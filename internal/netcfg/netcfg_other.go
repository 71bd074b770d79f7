//go:build !linux

package netcfg

import (
	"context"
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
func RelayUp(ifname string, mtu int, linkLocal netip.Addr, natives ...netip.Prefix) error {
	return unsupported()
}

// TryClient is not supported on this system.
func TryClient(ifname string) error { return unsupported() }

// TryRelay is not supported on this system.
func TryRelay(ifname string) error { return unsupported() }

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

// RestoreRelay is not supported on this system.
func RestoreRelay(ifname string, linkLocal netip.Addr, natives ...netip.Prefix) (lost []string, err error) {
	return nil, unsupported()
}

// Forwarding is not supported on this system.
func Forwarding() (bool, error) { return false, unsupported() }

// SetForwarding is not supported on this system.
func SetForwarding(on bool) error { return unsupported() }

// GlobalIPv6 finds no address on this system.
func GlobalIPv6() (netip.Addr, bool) { return netip.Addr{}, false }

// LocalIPv4 is not supported on this system.
func LocalIPv4(remote netip.Addr) (netip.Addr, error) { return netip.Addr{}, unsupported() }

// Gateway finds no router on this system.
func Gateway(remote netip.Addr) (netip.Addr, bool) { return netip.Addr{}, false }

// Broadcasts is not supported on this system.
func Broadcasts() ([]netip.Addr, error) { return nil, unsupported() }

// Subnets is not supported on this system.
func Subnets() ([]netip.Prefix, error) { return nil, unsupported() }

// OwnIPv6 is not supported on this system.
func OwnIPv6() ([]netip.Prefix, error) { return nil, unsupported() }

// NativeIPv6 is not supported on this system.
func NativeIPv6(except string) (via string, ok bool, err error) { return "", false, unsupported() }

// Watch is not supported on this system.
func Watch(ctx context.Context, own string) (<-chan Change, error) { return nil, unsupported() }
