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
		"capacity":                 {run{TUN: "teredo", Capacity: 1 << 16}, ""},
		"too small a capacity":     {run{TUN: "teredo", Capacity: 100}, "a capacity of 100 clients is not possible: choose one from 4096 to 1048576, or leave it out"},
		"too large a capacity":     {run{TUN: "teredo", Capacity: 1 << 30}, "a capacity of 1073741824 clients is not possible: choose one from 4096 to 1048576, or leave it out"},
		"this host and a range":    {run{TUN: "teredo", HostOnly: true, Serve: all}, "--host-only serves all addresses of this host: leave --serve out"},
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

// ST-C-06: the capacity follows from the memory, within bounds.
func TestDefaultCapacity(t *testing.T) {
	for available, want := range map[uint64]int{0: 4096, 1 << 20: 4096, 64 << 20: 1 << 15, 1 << 30: 1 << 19, 1 << 40: 1 << 20} {
		if got := defaultCapacity(available); got != want {
			t.Errorf("%d bytes: %d clients, want %d", available, got, want)
		}
	}
}
