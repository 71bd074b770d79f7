//go:build !linux

package netcfg

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
)

// seen is what an interface looks like.
type seen struct {
	up        bool
	addresses []netip.Prefix // with the length of their subnet
}

// Subnets returns the IPv4 subnet of each address of this host, loopback left out, in ascending order.
func Subnets() ([]netip.Prefix, error) {
	all, err := look()
	if err != nil {
		return nil, fmt.Errorf("list IPv4 addresses: %w", err)
	}
	var subnets []netip.Prefix
	for _, ifi := range all {
		for _, p := range ifi.addresses {
			if p.Addr().Is4() && !p.Addr().IsLoopback() {
				subnets = append(subnets, p.Masked())
			}
		}
	}
	slices.SortFunc(subnets, netip.Prefix.Compare)
	return slices.Compact(subnets), nil
}

// NativeIPv6 reports whether packets to the IPv6 Internet leave this host with a global address that is not Teredo's, and the
// interface that has it. The interface named except does not count.
func NativeIPv6(except string) (via string, ok bool, err error) {
	local, err := localToward(globalUnicast().Addr().Next()) // nothing is sent
	if err != nil || !globalUnicast().Contains(local) || teredo.IsTeredo(local) {
		return "", false, nil // without a route the system says so by an error
	}
	all, err := look()
	if err != nil {
		return "", false, fmt.Errorf("list the interfaces: %w", err)
	}
	for name, ifi := range all {
		if name != except && slices.ContainsFunc(ifi.addresses, func(p netip.Prefix) bool { return p.Addr() == local }) {
			return name, true, nil
		}
	}
	return "", false, nil // it is the interface's own, or has just gone
}
