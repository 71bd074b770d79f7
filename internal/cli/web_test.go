//go:build !small

package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestWebFlags(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	used := l.Addr().String()
	token := writeFile(t, "0123456789abcdef")
	for name, test := range map[string]struct {
		flags WebFlags
		says  string
		usage bool
	}{
		"a token without an address": {WebFlags{WebTokenFile: token}, "are for --web, which is not given", true},
		"a certificate alone":        {WebFlags{Web: webAt("127.0.0.1:0"), WebCert: "c.pem"}, "give both or none", true},
		"every address":              {WebFlags{Web: webAt("0.0.0.0:0")}, "give --web-token-file, or use 127.0.0.1", true},
		"an address of another":      {WebFlags{Web: webAt("203.0.113.1:0"), WebTokenFile: token}, "no interface of this host has this address", false},
		"an address in use":          {WebFlags{Web: webAt(used)}, "another program uses this address and port", false},
		"no token file":              {WebFlags{Web: webAt("127.0.0.1:0"), WebTokenFile: "/nonexistent"}, "token file /nonexistent: no such file", true},
		"no certificate file":        {WebFlags{Web: webAt("127.0.0.1:0"), WebCert: "/nonexistent", WebKey: "/nonexistent"}, "certificate /nonexistent", true},
	} {
		_, err := test.flags.listenWeb(nil, slog.New(slog.DiscardHandler))
		_, usage := errors.AsType[*usageError](err)
		if err == nil || !strings.Contains(err.Error(), test.says) || usage != test.usage {
			t.Errorf("%s: error %v (usage: %v), want %q in it", name, err, usage, test.says)
		}
	}
	for text, says := range map[string]string{"localhost:80": "is not an address and port", ":80": "is not an address and port", "127.0.0.1": "is not an address and port"} {
		if err := new(WebAddress).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	var log strings.Builder
	site, err := (&WebFlags{Web: webAt("0.0.0.0:0"), WebTokenFile: token}).listenWeb(nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	site.Close()
	if !strings.Contains(log.String(), "in the clear") {
		t.Errorf("log %q", log.String())
	}
}

func webAt(address string) WebAddress { return WebAddress{netip.MustParseAddrPort(address)} }

// The web address tells that the program is not ready, that it is, and that it hangs.
func TestServeWeb(t *testing.T) {
	site, err := (&WebFlags{Web: webAt("127.0.0.1:0")}).listenWeb(nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	state := newServiceState()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- serveWeb(ctx, site, "relay", state, nil, nil) }()
	want := func(what, path, status string) {
		t.Helper()
		for { // an answer is given for a second
			got, body := fetch(t, "http://"+site.Addr().String()+path)
			if got == status {
				return
			}
			if t.Context().Err() != nil {
				t.Fatalf("%s: %s %s, want %s", what, got, body, status)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	want("at first", "/readyz", "503")
	want("at first", "/healthz", "200")
	hangs := make(chan struct{})
	state.Runs(func(ctx context.Context) (serviceStatus, error) {
		select {
		case <-hangs:
			<-ctx.Done()
			return serviceStatus{}, ctx.Err()
		default:
			return serviceStatus{State: "running", Peers: 7}, nil
		}
	})
	want("while it runs", "/readyz", "200")
	if _, body := fetch(t, "http://"+site.Addr().String()+"/metrics"); !strings.Contains(body, "\nteredo_state{state=\"running\"} 1\n") {
		t.Errorf("metrics %s", body)
	}
	close(hangs)
	want("when it hangs", "/healthz", "503")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// fetch returns the code and the body of an answer.
func fetch(t *testing.T, url string) (code, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status[:3], string(text)
}
