package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/teredo"
)

// NativePrefix is a flag that holds the native /64 of a server's clients. The zero value (not IsValid) means that it was not given.
type NativePrefix struct{ netip.Prefix }

// UnmarshalText parses a prefix in CIDR form.
func (n *NativePrefix) UnmarshalText(text []byte) (err error) {
	if strings.Contains(string(text), "=") {
		return fmt.Errorf("%s names a server, and this is the server: write the prefix alone", text)
	}
	n.Prefix, err = parseNative(string(text))
	return err
}

// NativePrefixes is a flag that holds native prefixes of the clients of several servers, each in the form PREFIX or SERVER=PREFIX.
// It may be repeated.
type NativePrefixes []ServerPrefix

// ServerPrefix is one of NativePrefixes. Server is zero where none is named.
type ServerPrefix struct {
	Server netip.Addr
	Prefix netip.Prefix
}

// UnmarshalText adds the prefixes in text, which commas separate, to those already there. An empty text has none.
func (n *NativePrefixes) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	for item := range strings.SplitSeq(string(text), ",") {
		prefix := strings.TrimSpace(item)
		var server IPv4
		if before, after, named := strings.Cut(prefix, "="); named {
			if err := server.UnmarshalText([]byte(before)); err != nil {
				return fmt.Errorf("the server in %s: %w", prefix, err)
			}
			prefix = after
		}
		native, err := parseNative(prefix)
		if err != nil {
			return err
		}
		*n = append(*n, ServerPrefix{server.Addr, native})
	}
	return nil
}

func parseNative(text string) (netip.Prefix, error) {
	prefix, err := family{name: "IPv6", other: "IPv4", bits: 128, example: "2001:db8:c::/64"}.parsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	anyServer := netip.AddrFrom4([4]byte{192, 0, 2, 1})
	switch _, err := teredo.NewNativePrefix(anyServer, prefix); {
	case errors.Is(err, teredo.ErrNativeLength) && prefix.Bits() < 64:
		return netip.Prefix{}, fmt.Errorf("%v is larger than a /64: choose one /64 of it, such as %v", prefix, netip.PrefixFrom(prefix.Addr(), 64))
	case errors.Is(err, teredo.ErrNativeLength):
		return netip.Prefix{}, fmt.Errorf("%v is smaller than a /64, and every client needs an address: give a whole /64", prefix)
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%v is not a global unicast prefix: give a /64 of native IPv6 that belongs to you", prefix)
	}
	return prefix, nil
}

// For returns the translations. A prefix that names no server is that of own, the address of this host. permit are
// ranges of IPv4 that count as public.
func (n NativePrefixes) For(own netip.Addr, permit []netip.Prefix) (natives teredo.NativePrefixes, err error) {
	filter := teredo.Filter{Permit: permit}
	for _, p := range n {
		server := p.Server
		if !server.IsValid() {
			server = own
		}
		if !server.IsValid() {
			return nil, fmt.Errorf("--native-prefix %v names no server: write SERVER=%[1]v with the public IPv4 address of the server whose "+
				"clients get these addresses, or give --bind if the server has the same address as this relay", p.Prefix)
		}
		if !filter.Global(server) {
			return nil, fmt.Errorf("--native-prefix %v is for clients of %v, which is not a public IPv4 address: write SERVER=%[1]v with the server's "+
				"public one, or allow its range with --permit-ipv4", p.Prefix, server)
		}
		native, err := teredo.NewNativePrefix(server, p.Prefix)
		if err != nil {
			return nil, fmt.Errorf("--native-prefix: %w", err)
		}
		for _, other := range natives {
			switch {
			case other.Prefix() == native.Prefix():
				return nil, fmt.Errorf("--native-prefix %v is given twice: each server needs a prefix of its own", p.Prefix)
			case other.Server() == server:
				return nil, fmt.Errorf("--native-prefix %v and %v are both for clients of %v: give one prefix for each server, as SERVER=PREFIX",
					other.Prefix(), p.Prefix, server)
			}
		}
		natives = append(natives, native)
	}
	return natives, nil
}
