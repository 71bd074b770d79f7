package main

import (
	"net/netip"
	"testing"

	"github.com/teredo-suite/teredo/internal/cli"
)

// Servers that cannot be ones are refused before anything is started.
func TestCheckServers(t *testing.T) {
	const neither = "neither a host name nor an IPv4 address"
	const example = ": write one such as teredo.example.net or 192.0.2.1"
	for name, test := range map[string]struct {
		servers, seconds []string
		want             string
	}{
		"a name":                  {[]string{"teredo.example.net"}, nil, ""},
		"a name and an address":   {[]string{"teredo.example.net", "192.0.2.1"}, []string{"teredo.example.org", "192.0.2.2"}, ""},
		"no second for the first": {[]string{"teredo.example.net", "192.0.2.1"}, []string{"", "192.0.2.2"}, ""},
		"an empty list":           {nil, nil, "no server is given: write one such as teredo.example.net or 192.0.2.1"},
		"an empty name":           {[]string{""}, nil, `server "": ` + neither + example},
		"one empty name of two":   {[]string{"192.0.2.1", ""}, nil, `server "": ` + neither + example},
		"no address":              {[]string{"192.0.2.300"}, nil, `server "192.0.2.300": ` + neither + example},
		"a URL":                   {[]string{"http://teredo.example.net/"}, nil, `server "http://teredo.example.net/": ` + neither + ": name the host alone, teredo.example.net"},
		"a port":                  {[]string{"192.0.2.1:3544"}, nil, `server "192.0.2.1:3544": ` + neither + ": name the host alone, 192.0.2.1"},
		"a port at the second":    {[]string{"192.0.2.1"}, []string{"192.0.2.2:3544"}, `server "192.0.2.2:3544": ` + neither + ": name the host alone, 192.0.2.2"},
		"an IPv6 address":         {[]string{"2001:db8::1"}, nil, `server "2001:db8::1": an IPv6 address, but Teredo servers are reached over IPv4: give an IPv4 address or a name`},
		"too many seconds":        {[]string{"192.0.2.1"}, []string{"192.0.2.2", "192.0.2.3"}, "--server2 is given 2 times, but --server only 1 times"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run{TUN: "teredo", clientFlags: clientFlags{Server: test.servers, Server2: test.seconds}}
			r.PermitIPv4 = cli.Prefixes{netip.MustParsePrefix("192.0.2.0/24")}
			got := ""
			if err := r.Check(); err != nil {
				got = err.Error()
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
