//go:build !linux

package netcfg

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
)

func unsupported() error {
	return fmt.Errorf("configure the network on %s: %w: relays run on Linux only", runtime.GOOS, errors.ErrUnsupported)
}

// RelayUp is not supported on this system.
func RelayUp(ifname string, mtu int, linkLocal netip.Addr, natives ...netip.Prefix) error {
	return unsupported()
}

// TryRelay is not supported on this system.
func TryRelay(ifname string) error { return unsupported() }

// AnnounceRelay is not supported on this system.
func AnnounceRelay(ifname string, natives ...netip.Prefix) error { return unsupported() }

// WithdrawRelay is not supported on this system.
func WithdrawRelay(ifname string, natives ...netip.Prefix) error { return unsupported() }

// KeepAddresses is not supported on this system.
func KeepAddresses(ifname string, addrs ...netip.Addr) error { return unsupported() }

// AnnounceAddresses is not supported on this system.
func AnnounceAddresses(ifname string, addrs ...netip.Addr) error { return unsupported() }

// HasAddress is not supported on this system.
func HasAddress(a netip.Addr) (ifname string, err error) { return "", unsupported() }

// RestoreRelay is not supported on this system.
func RestoreRelay(ifname string, linkLocal netip.Addr, announced bool, natives ...netip.Prefix) (lost []string, err error) {
	return nil, unsupported()
}

// Forwarding is not supported on this system.
func Forwarding() (bool, error) { return false, unsupported() }

// SetForwarding is not supported on this system.
func SetForwarding(on bool) error { return unsupported() }

// OwnIPv6 is not supported on this system.
func OwnIPv6() ([]netip.Prefix, error) { return nil, unsupported() }

// AdvertisedDefault is not supported on this system.
func AdvertisedDefault() (ifname string, err error) { return "", unsupported() }

// GlobalIPv6 finds no address on this system.
func GlobalIPv6() (netip.Addr, bool) { return netip.Addr{}, false }

// SubnetRouter finds no address on this system.
func SubnetRouter(netip.Prefix) (netip.Addr, bool) { return netip.Addr{}, false }

// OnLink is not supported on this system.
func OnLink(prefix netip.Prefix, except string) (ifname string, covering netip.Prefix, err error) {
	return "", netip.Prefix{}, unsupported()
}

// TakenIPv6 is not supported on this system.
func TakenIPv6() (map[netip.Addr]bool, error) { return nil, unsupported() }

// LinkLocalIPv6 finds no address on this system.
func LinkLocalIPv6(ifname string) (netip.Addr, bool) { return netip.Addr{}, false }

// Gateways is not supported on this system.
type Gateways struct{}

// KeepGateways finds no routers on this system.
func KeepGateways(*slog.Logger, ...netip.Prefix) *Gateways { return new(Gateways) }

// Follow is not supported on this system.
func (*Gateways) Follow() error { return unsupported() }

// Undo has nothing to undo.
func (*Gateways) Undo() {}
