package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// Only our own page, with the token, may have the program ping. What it may ask for is an IPv6 address.
func TestPing(t *testing.T) {
	var asked string
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{Ping: func(_ context.Context, address string) (any, error) {
		if asked = address; address == "2001:db8::dead" {
			return nil, errors.New("it has stopped")
		}
		return map[string]any{"answered": true, "reason": "<b>"}, nil
	}}, nil)
	ping := func(body string, more ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+secretWord)
			for i := 0; i < len(more); i += 2 {
				r.Header.Set(more[i], more[i+1])
			}
		}
	}
	const good = `{"address":"2001:db8::1"}`
	for name, test := range map[string]struct {
		change func(*http.Request)
		code   int
		why    refusal
	}{
		"without a browser":       {ping(good), 200, 0},
		"by our page":             {ping(good, "Sec-Fetch-Site", "same-origin", "Origin", "http://"+s.Addr().String()), 200, 0},
		"by another site":         {ping(good, "Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example"), 403, foreignPage},
		"by another port of ours": {ping(good, "Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:1"), 403, foreignPage},
		"by an old browser":       {ping(good, "Origin", "http://evil.example"), 403, foreignPage},
		"as a form":               {ping(good, "Content-Type", "text/plain"), 403, foreignPage},
		"without a token":         {ping(good, "Authorization", ""), 401, wrongToken},
		"another host":            {func(r *http.Request) { ping(good)(r); r.Host = "evil.example" }, 421, foreignHost},
		"nothing":                 {ping(""), 413, withBody},
		"a large body":            {ping(`{"address":"2001:db8::1"` + strings.Repeat(" ", mostPing) + "}"), 413, withBody},
		"no JSON":                 {ping("x"), 400, 0},
		"IPv4":                    {ping(`{"address":"192.0.2.1"}`), 400, 0},
		"an address of one link":  {ping(`{"address":"fe80::1%eth0"}`), 400, 0},
		"a name":                  {ping(`{"address":"localhost"}`), 400, 0},
		"it cannot":               {ping(`{"address":"2001:db8::dead"}`), 503, 0},
	} {
		asked = ""
		was := s.refused[test.why].Load()
		answer, body := ask(t, s, "POST", pingPath, test.change)
		if answer.StatusCode != test.code || (asked != "") != (test.code == 200 || test.code == 503) {
			t.Errorf("%s: %s %q, asked for %q, want %d", name, answer.Status, body, asked, test.code)
		}
		if test.code == 200 && (asked != "2001:db8::1" || strings.Contains(body, "<")) {
			t.Errorf("%s: asked for %q, %s", name, asked, body)
		}
		if got := s.refused[test.why].Load() - was; (got == 1) != (test.code > 400 && test.code < 500) {
			t.Errorf("%s: counted %d times", name, got)
		}
	}
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) }
	if answer, _ := ask(t, s, "GET", pingPath, token); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", answer.Status)
	}
	if answer, _ := ask(t, s, "POST", "/api/v1/status", ping(good)); answer.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST elsewhere: %s", answer.Status)
	}
	if answer, _ := ask(t, serve(t, Config{}, Program{Ping: func(context.Context, string) (any, error) { return nil, nil }}, nil), "POST", pingPath, ping(good)); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a program without a token: %s", answer.Status)
	}
}

// So many pings are under way, and no more.
func TestManyPings(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{Ping: func(context.Context, string) (any, error) {
		began <- struct{}{}
		<-end
		return 1, nil
	}}, nil)
	ping := func(r *http.Request) {
		const body = `{"address":"2001:db8::1"}`
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+secretWord)
	}
	answers := make(chan string)
	for range mostPings {
		go func() {
			answer, _ := ask(t, s, "POST", pingPath, ping)
			answers <- answer.Status
		}()
		<-began
	}
	if answer, _ := ask(t, s, "POST", pingPath, ping); answer.StatusCode != http.StatusServiceUnavailable || s.refused[tooManyPings].Load() != 1 {
		t.Errorf("one too many: %s", answer.Status)
	}
	close(end)
	for range mostPings {
		if status := <-answers; status != "200 OK" {
			t.Errorf("a ping: %s", status)
		}
	}
}
