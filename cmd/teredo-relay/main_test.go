package main

import (
	"net/netip"
	"testing"
)

func TestCheck(t *testing.T) {
	all := []netip.Prefix{netip.MustParsePrefix("::/0")}
	for name, test := range map[string]struct {
		run  run
		want string
	}{
		"plain":                    {run{TUN: "teredo"}, ""},
		"this host":                {run{TUN: "teredo", HostOnly: true}, ""},
		"a range, with forwarding": {run{TUN: "teredo", Serve: all, Forwarding: true}, ""},
		"port":                     {run{TUN: "teredo", Port: 3544}, "UDP port 3544 is for Teredo servers: choose another --port"},
		"interface name":           {run{TUN: "tere/do"}, `interface name "tere/do" must not be . or .., nor contain a slash, colon, percent sign or space`},
		"this host and forwarding": {run{TUN: "teredo", HostOnly: true, Forwarding: true}, "--host-only needs no --forwarding: leave one of them out"},
		"this host and a range":    {run{TUN: "teredo", HostOnly: true, Serve: all}, "--host-only serves the addresses of this host, whichever they are: leave --serve out"},
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
