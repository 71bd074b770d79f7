package main

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/cli"
)

func TestCheck(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("::/0")}
	natives := func(text string) (n cli.NativePrefixes) {
		if err := n.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		return n
	}
	bind := cli.IPv4{Addr: netip.MustParseAddr("192.88.98.1")}
	for name, test := range map[string]struct {
		run  run
		want string
	}{
		"plain":                    {run{Flags: relay.Flags{TUN: "teredo"}}, ""},
		"this host":                {run{Flags: relay.Flags{TUN: "teredo"}, HostOnly: true}, ""},
		"a range, with forwarding": {run{Flags: relay.Flags{TUN: "teredo", Serve: all, Forwarding: true}}, ""},
		"port":                     {run{Flags: relay.Flags{TUN: "teredo"}, Port: 3544}, "UDP port 3544 is for Teredo servers: choose another --port"},
		"interface name":           {run{Flags: relay.Flags{TUN: "tere/do"}}, `interface name "tere/do" must not be . or .., nor contain a slash, colon, percent sign or space`},
		"this host and forwarding": {run{Flags: relay.Flags{TUN: "teredo", Forwarding: true}, HostOnly: true}, "--host-only needs no --forwarding: leave one of them out"},
		"capacity":                 {run{Flags: relay.Flags{TUN: "teredo", Capacity: 1 << 16}}, ""},
		"too small a capacity":     {run{Flags: relay.Flags{TUN: "teredo", Capacity: 100}}, "a capacity of 100 clients is not possible: choose one from 4096 to 1048576, or leave it out"},
		"too large a capacity":     {run{Flags: relay.Flags{TUN: "teredo", Capacity: 1 << 30}}, "a capacity of 1073741824 clients is not possible: choose one from 4096 to 1048576, or leave it out"},
		"native prefix of the server at this host": {run{Flags: relay.Flags{TUN: "teredo"}, Bind: bind, NativePrefix: natives("2001:db8:c::/64")}, ""},
		"native prefixes of two servers":           {run{Flags: relay.Flags{TUN: "teredo"}, NativePrefix: natives("192.88.98.1=2001:db8:c::/64,192.88.98.2=2001:db8:d::/64")}, ""},
		"native prefix of no server":               {run{Flags: relay.Flags{TUN: "teredo"}, NativePrefix: natives("2001:db8:c::/64")}, "--native-prefix 2001:db8:c::/64 names no server: write SERVER=2001:db8:c::/64 with the public IPv4 address of the server whose clients get these addresses, or give --bind if the server has the same address as this relay"},
		"native prefix of a private server":        {run{Flags: relay.Flags{TUN: "teredo"}, NativePrefix: natives("10.1.2.3=2001:db8:c::/64")}, "--native-prefix 2001:db8:c::/64 is for clients of 10.1.2.3, which is not a public IPv4 address: write SERVER=2001:db8:c::/64 with the server's public one, or allow its range with --permit-ipv4"},
		"two native prefixes of one server":        {run{Flags: relay.Flags{TUN: "teredo"}, Bind: bind, NativePrefix: natives("2001:db8:c::/64,192.88.98.1=2001:db8:d::/64")}, "--native-prefix 2001:db8:c::/64 and 2001:db8:d::/64 are both for clients of 192.88.98.1: give one prefix for each server, as SERVER=PREFIX"},
		"native prefix twice":                      {run{Flags: relay.Flags{TUN: "teredo"}, NativePrefix: natives("192.88.98.1=2001:db8:c::/64,192.88.98.2=2001:db8:c::/64")}, "--native-prefix 2001:db8:c::/64 is given twice: each server needs a prefix of its own"},
		"native prefix for this host alone":        {run{Flags: relay.Flags{TUN: "teredo"}, Bind: bind, HostOnly: true, NativePrefix: natives("2001:db8:c::/64")}, "--host-only serves only this host, and native addresses are for other hosts: leave --native-prefix out"},
		"neighbor proxy without a native prefix":   {run{Flags: relay.Flags{TUN: "teredo", NeighborProxy: "eth0"}}, "--neighbor-proxy is for the addresses of a --native-prefix: give that, too"},
		"this host and a range":                    {run{Flags: relay.Flags{TUN: "teredo", Serve: all}, HostOnly: true}, "--host-only serves all addresses of this host: leave --serve out"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := test.run.Check(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
