package resolve

import (
	"context"
	"errors"
	"net"
	"testing"
)

// What the system's resolver says has the form and the errors of the other one.
func TestSystem(t *testing.T) {
	records := zone("a.example. 60 A 192.0.2.1\na.example. 60 A 192.0.2.2\nsix.example. 60 AAAA 2001:db8::1\n")
	port := serve(t, "127.0.0.1:0", records)
	system := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	addrs, ttl, err := lookupSystem(t.Context(), system, "a.example.")
	if err != nil || len(addrs) != 2 || !addrs[0].Is4() || ttl != systemTTL {
		t.Errorf("%v, %v, %v", addrs, ttl, err)
	}
	for name, want := range map[string]error{"none.example.": ErrNoIPv4, "six.example.": ErrNoIPv4} {
		if _, _, err := lookupSystem(t.Context(), system, name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, _, err := lookupSystem(ended, system, "a.example."); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
