package server

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/teredo"
)

func TestConfigCheck(t *testing.T) {
	addr := netip.MustParseAddr
	permit := teredo.Filter{Permit: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	tests := []struct {
		name string
		cfg  Config
		want string // part of the error; empty: none
	}{
		{"one address", Config{Primary: addr("8.8.4.4")}, ""},
		{"two addresses", Config{Primary: addr("8.8.4.4"), Secondary: addr("8.8.8.8")}, ""},
		{"1:1 NAT", Config{Primary: addr("10.0.0.1"), Secondary: addr("10.0.0.2"),
			Public: addr("8.8.4.4"), Public2: addr("8.8.8.8")}, ""},
		{"private, permitted", Config{Primary: addr("10.0.0.1"), Secondary: addr("10.0.0.2"), Filter: permit}, ""},

		{"no address", Config{}, "no primary address"},
		{"IPv6", Config{Primary: addr("2001:db8::1")}, "not an IPv4 address"},
		{"IPv4-mapped", Config{Primary: addr("::ffff:8.8.4.4")}, "not an IPv4 address"},
		{"wildcard", Config{Primary: addr("0.0.0.0")}, "is not the address of one host"},
		{"multicast secondary", Config{Primary: addr("8.8.4.4"), Secondary: addr("224.0.0.253")}, "is not the address of one host"},
		{"same twice", Config{Primary: addr("8.8.4.4"), Secondary: addr("8.8.4.4")}, "give another secondary address"},
		{"same public twice", Config{Primary: addr("10.0.0.1"), Secondary: addr("10.0.0.2"),
			Public: addr("8.8.4.4"), Public2: addr("8.8.4.4")}, "two different ones"},
		{"public2 without secondary", Config{Primary: addr("8.8.4.4"), Public2: addr("8.8.8.8")}, "no secondary address to listen at"},
		{"private", Config{Primary: addr("10.0.0.1")}, "clients cannot reach 10.0.0.1"},
		{"private secondary", Config{Primary: addr("10.0.0.1"), Secondary: addr("10.0.0.2"), Public: addr("8.8.4.4")}, "clients cannot reach 10.0.0.2"},
		{"private public", Config{Primary: addr("8.8.4.4"), Public: addr("192.168.0.1")}, "192.168.0.1"},
		{"public is IPv6", Config{Primary: addr("8.8.4.4"), Public: addr("2001:db8::1")}, "2001:db8::1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.cfg.Check()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check() = %v, want %q", err, tt.want)
			}
			h, handlerErr := NewHandler(tt.cfg)
			if (handlerErr == nil) != (err == nil) || (h == nil) != (err != nil) {
				t.Errorf("NewHandler = %v, %v; Check() = %v", h, handlerErr, err)
			}
		})
	}
}
