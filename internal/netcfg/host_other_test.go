//go:build !linux

package netcfg

import (
	"net/netip"
	"slices"
	"testing"
)

func TestLoopbackIsSeen(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.1/8")
	all, err := look()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, ifi := range all {
		found = found || ifi.up && slices.Contains(ifi.addresses, loopback)
	}
	if !found {
		t.Errorf("%v has no %v", all, loopback)
	}
	if local, err := LocalIPv4(loopback.Addr()); err != nil || local != loopback.Addr() {
		t.Errorf("local address toward loopback: %v, %v", local, err)
	}
	if subnets, err := Subnets(); err != nil || slices.Contains(subnets, loopback.Masked()) {
		t.Errorf("subnets %v, %v", subnets, err)
	}
}

func TestDifference(t *testing.T) {
	one := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}
	before := map[string]seen{"a": {true, one}, "own": {true, nil}}
	for _, tt := range []struct {
		after map[string]seen
		want  Change
	}{
		{map[string]seen{"a": {true, one}, "own": {true, nil}}, Change{}},
		{map[string]seen{"a": {false, one}, "own": {true, nil}}, Change{Links: true}},
		{map[string]seen{"a": {true, nil}, "own": {true, nil}}, Change{Addresses: true}},
		{map[string]seen{"own": {true, nil}}, Change{Links: true, Addresses: true}},
		{map[string]seen{"a": {true, one}, "own": {true, nil}, "b": {}}, Change{Links: true}},
		{map[string]seen{"a": {true, one}, "own": {true, one}}, Change{Own: true}},
		{map[string]seen{"a": {true, one}}, Change{Own: true}},
	} {
		if got := difference(before, tt.after, "own"); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.after, got, tt.want)
		}
	}
}
