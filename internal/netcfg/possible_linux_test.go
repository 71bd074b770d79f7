package netcfg

import (
	"errors"
	"testing"
)

// Another tunnel of 2001::/32 is in the way, and the interface itself is not.
func TestTry(t *testing.T) {
	inNamespace(t)
	newTUN(t)
	addRoute(t, newNative(t, "other"), "2001::/32", 256, "")
	for ifname, want := range map[string]error{tunName: ErrRouteTaken, "none": ErrRouteTaken, "other": nil} {
		if err := TryClient(ifname); !errors.Is(err, want) {
			t.Errorf("client at %s: %v, want %v", ifname, err, want)
		}
		if err := TryRelay(ifname); !errors.Is(err, want) {
			t.Errorf("relay at %s: %v, want %v", ifname, err, want)
		}
	}
}
