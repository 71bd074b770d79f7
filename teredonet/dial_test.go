package teredonet_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredonet"
)

// names is a resolver.
type names map[string][]netip.Addr

// LookupNetIP implements teredonet.Resolver.
func (n names) LookupNetIP(_ context.Context, network, host string) (addrs []netip.Addr, err error) {
	for _, a := range n[host] {
		if a.Is6() == (network == "ip6") {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// A name is connected at the first of its IPv6 addresses that answers. One without IPv6 addresses says so.
func TestNames(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		h := w.native()
		go echo(w.listen(h))
		v4, refuses := netip.MustParseAddr("192.0.2.1"), w.native().Addr()
		n, err := teredonet.Over(w.NAT(natsim.PortRestricted()).Host().ClientConfig(w.server), names{
			"both.example": {v4, refuses, h.Addr()}, "old.example": {v4},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		if _, err := n.DialContext(w.context(), "tcp", "both.example:80"); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("before there is IPv6: %v", err)
		}
		if _, err := n.WaitAddr(w.context(), netip.Addr{}); err != nil {
			t.Fatal(err)
		}
		c, err := n.DialContext(w.context(), "tcp", "both.example:http")
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, 1000)
		if err := c.Close(); err != nil {
			t.Error(err)
		}

		var unknown net.UnknownNetworkError
		var notFound *net.DNSError
		var address *net.AddrError
		for _, test := range []struct {
			network, address string
			is               func(error) bool
		}{
			{"tcp", "old.example:80", func(err error) bool { return errors.Is(err, teredonet.ErrOnlyIPv4) }},
			{"tcp6", "192.0.2.1:80", func(err error) bool { return errors.Is(err, teredonet.ErrOnlyIPv4) }},
			{"udp", "no.example:80", func(err error) bool { return errors.As(err, &notFound) && notFound.IsNotFound }},
			{"tcp4", "both.example:80", func(err error) bool { return errors.As(err, &unknown) }},
			{"tcp", "[fe80::1%eth0]:80", func(err error) bool { return errors.As(err, &address) }},
			{"tcp", "both.example", func(err error) bool { return errors.As(err, &address) }},
		} {
			var op *net.OpError
			if _, err := n.DialContext(w.context(), test.network, test.address); !errors.As(err, &op) || !test.is(err) {
				t.Errorf("%s %s: %v", test.network, test.address, err)
			}
		}
		if _, err := n.Listen("udp", ":80"); !errors.As(err, &unknown) {
			t.Errorf("Listen by UDP: %v", err)
		}
		if _, err := n.ListenPacket("udp", "both.example:80"); !errors.As(err, &address) {
			t.Errorf("ListenPacket at a name: %v", err)
		}
	})
}
