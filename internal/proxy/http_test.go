package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/secret"
)

// origin is a web server of the IPv6 Internet that answers with the request that it got.
func (w *world) origin(t *testing.T, port uint16, handle http.HandlerFunc) {
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	w.services[port] = s.Listener.Addr().String()
}

func mirror(w http.ResponseWriter, r *http.Request) {
	dump, err := httputil.DumpRequest(r, true)
	if err != nil {
		panic(err)
	}
	w.Header().Set("Connection", "X-Hop")
	w.Header().Set("X-Hop", "1")
	w.Header().Set("Proxy-Authenticate", "Basic")
	w.Write(dump)
}

// talk sends bytes to the proxy and returns what it answers to a request.
func talk(t *testing.T, p *Proxy, method, text string) (*http.Response, string) {
	t.Helper()
	c := dial(t, p.at(0))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if method != http.MethodConnect && err != nil {
		t.Fatal(err)
	}
	return r, string(body)
}

func TestHTTP(t *testing.T) {
	w := newWorld()
	w.origin(t, 80, mirror)
	p := start(t, w, Config{HTTP: loopback()})
	r, body := talk(t, p, "POST", "POST http://web.example/a?b=1;c HTTP/1.1\r\nHost: other.example\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\n"+
		"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nTE: gzip\r\nKeep-Alive: 1\r\nContent-Length: 4\r\n\r\nbody")
	if r.StatusCode != 200 {
		t.Fatal(r.Status, body)
	}
	for _, want := range []string{"POST /a?b=1;c HTTP/1.1", "Host: web.example", "Via: 1.1 teredo-client", "\r\n\r\nbody"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in:\n%s", want, body)
		}
	}
	for _, hop := range []string{"other.example", "X-Mine", "Proxy-", "Te:", "Keep-Alive", "User-Agent", "X-Forwarded"} {
		if strings.Contains(body, hop) {
			t.Errorf("%q in:\n%s", hop, body)
		}
	}
	if r.Header.Get("X-Hop") != "" || r.Header.Get("Proxy-Authenticate") != "" || r.Header.Get("Via") == "" {
		t.Errorf("answer's header %v", r.Header)
	}
	if s := p.Status(); s.SentBytes == 0 || s.ReceivedBytes < uint64(len(body)) {
		t.Errorf("counted %d bytes sent and %d received", s.SentBytes, s.ReceivedBytes)
	}
}

// Each refusal has its status, and a body that says why.
func TestHTTPStatus(t *testing.T) {
	w := newWorld()
	w.origin(t, 80, mirror)
	w.serve(t, 83, func(c *net.TCPConn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n") })
	p := start(t, w, Config{HTTP: loopback(), Resolver: zone{"web.example": {"2001:db8::1"}, "v4.example": {"198.51.100.7"}}})
	for _, test := range []struct {
		request string
		status  int
		body    string
	}{
		{"GET http://[::1]/", 403, "::1 is not a global IPv6 address"},
		{"CONNECT [fd00::1]:22", 403, "fd00::1 is not"},
		{"GET http://v4.example/", 502, "v4.example has no IPv6 address, only IPv4 198.51.100.7"},
		{"GET http://none.example/", 502, "cannot resolve none.example: the name does not exist"},
		{"GET http://web.example:81/", 502, "connection refused"},
		{"CONNECT web.example:81", 502, "connection refused"},
		{"GET http://web.example:83/", 502, "malformed"},
		{"CONNECT web.example", 400, "a host and a port"},
		{"GET https://web.example/", 400, "CONNECT"},
		{"GET ftp://web.example/", 400, "this is a proxy"},
		{"GET /", 400, "this is a proxy"},
		{"OPTIONS *", 400, "this is a proxy"},
	} {
		method, _, _ := strings.Cut(test.request, " ")
		r, body := talk(t, p, "GET", test.request+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if r.StatusCode != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s (%s): %s: %s", test.request, method, r.Status, body)
		}
	}
}

// What is not one request, and nothing but that, is refused.
func TestHTTPHostile(t *testing.T) {
	w := newWorld()
	var requests []string
	w.origin(t, 80, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests = append(requests, r.URL.Path+" "+string(body))
	})
	p := start(t, w, Config{HTTP: loopback()})
	for _, test := range []struct {
		text   string
		status int
	}{
		{"GET http://web.example/a HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", 431},
		{"POST http://web.example/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400},
		{"POST http://web.example/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
		{"POST http://web.example/d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
		{"GET http://web.example/e HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		{"GET http://web.example/f\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		{"GET http://web.example/g HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400},
		// Of a length and chunks the chunks count (RFC 9112 §6.3), and the target sees no length.
		{"POST http://web.example/h HTTP/1.1\r\nHost: x\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200},
	} {
		if r, body := talk(t, p, "GET", test.text); r.StatusCode != test.status {
			t.Errorf("%.90q: %s: %s", test.text, r.Status, body)
		}
	}
	if got := strings.Join(requests, ","); got != "/h abc" {
		t.Errorf("the target has seen %s", got)
	}
}

func TestHTTPConnect(t *testing.T) {
	w := newWorld()
	w.serve(t, 443, echo)
	p := start(t, w, Config{HTTP: loopback()})
	c := dial(t, p.at(0))
	io.WriteString(c, "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\n\r\nearly") // as TLS clients may
	in := bufio.NewReader(c)
	if r, err := http.ReadResponse(in, &http.Request{Method: "CONNECT"}); err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	io.WriteString(c, " late")
	c.CloseWrite()
	if b, err := io.ReadAll(in); string(b) != "early late" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestHTTPPassword(t *testing.T) {
	w := newWorld()
	w.origin(t, 80, mirror)
	w.serve(t, 443, echo)
	p := start(t, w, Config{HTTP: loopback(), Users: []secret.Client{{ID: "ann", Secret: []byte("right")}}})
	get := func(user *url.Userinfo) (*http.Response, error) {
		through := &url.URL{Scheme: "http", User: user, Host: p.at(0)}
		client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(through), DisableKeepAlives: true}}
		r, err := client.Get("http://web.example/")
		if err == nil {
			io.Copy(io.Discard, r.Body)
			r.Body.Close()
		}
		return r, err
	}
	for _, test := range []struct {
		user *url.Userinfo
		want int
	}{{nil, 407}, {url.UserPassword("ann", "wrong"), 407}, {url.UserPassword("bob", "right"), 407}, {url.UserPassword("ann", "right"), 200}} {
		if r, err := get(test.user); err != nil || r.StatusCode != test.want || test.want == 407 && r.Header.Get("Proxy-Authenticate") == "" {
			t.Errorf("%v: %v, %v", test.user, r, err)
		}
	}
	if r, body := talk(t, p, "GET", "CONNECT web.example:443 HTTP/1.1\r\nHost: web.example:443\r\nConnection: close\r\n\r\n"); r.StatusCode != 407 {
		t.Error("CONNECT without a password:", r.Status, body)
	}
	until(t, "guesses to be refused", func() bool {
		r, err := get(url.UserPassword("ann", "guess"))
		return err == nil && r.StatusCode == http.StatusTooManyRequests
	})
}

// Upgraded connections, such as web sockets, go through.
func TestHTTPUpgrade(t *testing.T) {
	w := newWorld()
	w.origin(t, 80, func(w http.ResponseWriter, r *http.Request) {
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+r.Header.Get("Upgrade")+"\r\n\r\n")
		io.Copy(c, buffered)
	})
	p := start(t, w, Config{HTTP: loopback()})
	c := dial(t, p.at(0))
	io.WriteString(c, "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	in := bufio.NewReader(c)
	if r, err := http.ReadResponse(in, nil); err != nil || r.StatusCode != 101 {
		t.Fatal(r, err)
	}
	io.WriteString(c, "hello")
	b := make([]byte, 5)
	if _, err := io.ReadFull(in, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// While there is no IPv6 the proxy says so.
func TestOffline(t *testing.T) {
	offline := func(context.Context) error { return errors.New("no IPv6 yet, waiting for the server") }
	p := start(t, newWorld(), Config{HTTP: loopback(), Ready: offline})
	r, body := talk(t, p, "GET", "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n")
	if r.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "waiting for the server") {
		t.Errorf("%s: %s", r.Status, body)
	}
}
