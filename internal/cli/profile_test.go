package cli

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func TestLoopback(t *testing.T) {
	for _, text := range []string{"127.0.0.1:6060", "127.9.9.9:1", "[::1]:6060"} {
		var l Loopback
		if err := l.UnmarshalText([]byte(text)); err != nil || l.String() != text {
			t.Errorf("%s is parsed as %v, error %v", text, l, err)
		}
	}
	for text, says := range map[string]string{
		"192.0.2.1:6060":  "192.0.2.1 is no loopback address, and profiles are for this host alone: use 127.0.0.1 or [::1]",
		"0.0.0.0:6060":    "0.0.0.0 is no loopback address, and profiles are for this host alone: use 127.0.0.1 or [::1]",
		"[2001:db8::1]:1": "2001:db8::1 is no loopback address, and profiles are for this host alone: use 127.0.0.1 or [::1]",
		":6060":           `":6060" is not an address and port, such as 127.0.0.1:6060`,
		"127.0.0.1":       `"127.0.0.1" is not an address and port, such as 127.0.0.1:6060`,
	} {
		var l Loopback
		if err := l.UnmarshalText([]byte(text)); err == nil || err.Error() != says {
			t.Errorf("%s: error %v, want %s", text, err, says)
		}
	}
}

func TestServeProfiles(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort(listener.Addr().String())
	flags := RunFlags{ProfileFlags: ProfileFlags{PProf: Loopback{at}}}
	if _, err := flags.listenProfiles(nil); err == nil || !strings.Contains(err.Error(), "--pprof") {
		t.Errorf("an address in use: error %v", err)
	}
	listener.Close()

	listener, err = flags.listenProfiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serveProfiles(ctx, listener) }()
	if !strings.Contains(get(t, at, "heap?debug=1"), "heap profile") {
		t.Error("there is no heap profile")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if listener, err := new(RunFlags).listenProfiles(nil); listener != nil || err != nil {
		t.Errorf("without the flag: %v, %v", listener, err)
	}
}

// get fetches a profile as soon as it is served.
func get(t *testing.T, at netip.AddrPort, what string) string {
	t.Helper()
	for {
		response, err := http.Get("http://" + at.String() + "/debug/pprof/" + what)
		if err != nil {
			if t.Context().Err() != nil {
				t.Fatal(err)
			}
			continue
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
}
