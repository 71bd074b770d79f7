package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/cli"
)

func TestCheckRelay(t *testing.T) {
	bind := cli.IPv4{Addr: netip.MustParseAddr("192.88.98.1")}
	private := cli.IPv4{Addr: netip.MustParseAddr("10.1.2.3")}
	native := cli.NativePrefix{Prefix: netip.MustParsePrefix("2001:db8:c::/64")}
	for name, test := range map[string]struct {
		run  run
		want string // in the error
	}{
		"a server":                 {run{Bind: bind}, ""},
		"a relay":                  {run{Bind: bind, Relay: true, RelayPort: 3545, Flags: relay.Flags{TUN: "teredo", Forwarding: true}}, ""},
		"with native addresses":    {run{Bind: bind, NativePrefix: native, Relay: true, Flags: relay.Flags{TUN: "teredo", NeighborProxy: "eth0"}}, ""},
		"behind a 1:1 NAT":         {run{Bind: private, Public: bind, NativePrefix: native, Relay: true, Flags: relay.Flags{TUN: "teredo"}}, ""},
		"a relay's flag alone":     {run{Bind: bind, Flags: relay.Flags{Forwarding: true}}, "add --relay"},
		"the server's port":        {run{Bind: bind, Relay: true, RelayPort: 3544, Flags: relay.Flags{TUN: "teredo"}}, "choose another --relay-port"},
		"nothing to be a neighbor": {run{Bind: bind, Relay: true, Flags: relay.Flags{TUN: "teredo", NeighborProxy: "eth0"}}, "--neighbor-proxy is for the addresses of a --native-prefix"},
		"a private server":         {run{Bind: private, NativePrefix: native, Relay: true, Flags: relay.Flags{TUN: "teredo"}}, "not a public IPv4 address"},
		"too small a capacity":     {run{Bind: bind, Relay: true, Flags: relay.Flags{TUN: "teredo", Capacity: 1}}, "a capacity of 1 clients is not possible"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := test.run.Check(); err != nil {
				got = err.Error()
			}
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
