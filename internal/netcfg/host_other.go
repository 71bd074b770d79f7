//go:build !linux

package netcfg

import (
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
)

// Subnets returns the IPv4 subnet of each address of this host, loopback left out, in ascending order.
func Subnets() ([]netip.Prefix, error) {
	prefixes, err := addresses(net.InterfaceAddrs)
	if err != nil {
		return nil, err
	}
	prefixes = slices.DeleteFunc(prefixes, func(p netip.Prefix) bool { return !p.Addr().Is4() || p.Addr().IsLoopback() })
	for i, p := range prefixes {
		prefixes[i] = p.Masked()
	}
	slices.SortFunc(prefixes, netip.Prefix.Compare)
	return slices.Compact(prefixes), nil
}

// addresses turns a list of package net into addresses with the length of their subnet.
func addresses(list func() ([]net.Addr, error)) (prefixes []netip.Prefix, err error) {
	addrs, err := list()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, a := range addrs {
		subnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		if addr, ok := netip.AddrFromSlice(subnet.IP); ok {
			bits, _ := subnet.Mask.Size()
			prefixes = append(prefixes, netip.PrefixFrom(addr.Unmap(), bits))
		}
	}
	return prefixes, nil
}

// NativeIPv6 reports whether packets to the IPv6 Internet leave this host with a global address that is not Teredo's, and the
// interface that has it. The interface named except does not count.
func NativeIPv6(except string) (via string, ok bool, err error) {
	local, err := localToward(globalUnicast().Addr().Next()) // nothing is sent
	if err != nil || !globalUnicast().Contains(local) || teredo.IsTeredo(local) {
		return "", false, nil // without a route the system says so by an error
	}
	ifs, err := net.Interfaces()
	if err != nil {
		return "", false, fmt.Errorf("list the interfaces of this host: %w", err)
	}
	for _, ifi := range ifs {
		prefixes, err := addresses(ifi.Addrs)
		if err == nil && slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Addr() == local }) {
			return ifi.Name, ifi.Name != except, nil
		}
	}
	return "", false, nil // it has just gone
}
