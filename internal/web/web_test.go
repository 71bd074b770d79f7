package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secretWord = "0123456789abcdef0123"

// row is a peer of the tests.
type row struct {
	Name string  `json:"name"`
	Idle float64 `json:"idle"`
}

func (r *row) IdleSeconds() float64 { return r.Idle }

// status is like that of a server.
func status(state string) func(context.Context) (Status, error) {
	return func(context.Context) (Status, error) {
		return Status{Value: map[string]any{"state": state}, Ready: state == "running", Answered: state != "hangs"}, nil
	}
}

// serve starts a site on a loopback address. before may change it.
func serve(t *testing.T, cfg Config, p Program, before func(*Site)) *Site {
	t.Helper()
	if !cfg.Address.IsValid() {
		cfg.Address = netip.MustParseAddrPort("127.0.0.1:0")
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if before != nil {
		before(s)
	}
	if p.Status == nil {
		p.Status = status("running")
	}
	p.Name = "server"
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, p) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// ask sends a request and returns the answer with its body.
func ask(t *testing.T, s *Site, method, path string, change func(*http.Request)) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+s.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(r)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// write writes a file and returns its path.
func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// await waits until a refusal was counted so often.
func await(t *testing.T, s *Site, why refusal, n uint64) {
	t.Helper()
	for s.refused[why].Load() < n {
		if t.Context().Err() != nil {
			t.Fatalf("%v was counted %d times, want %d", why, s.refused[why].Load(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestPages(t *testing.T) {
	s := serve(t, Config{}, Program{Traffic: func(context.Context) (any, error) { return map[string][]int{"days": {}}, nil }}, nil)
	for path, want := range map[string]struct{ kind, text string }{
		"/":               {"text/html; charset=utf-8", "/metrics"},
		"/metrics":        {"text/plain; version=0.0.4; charset=utf-8", "teredo_state{state=\"running\"} 1\n"},
		"/healthz":        {"text/plain; charset=utf-8", "ok\n"},
		"/readyz":         {"text/plain; charset=utf-8", "ok\n"},
		"/api/v1/status":  {"application/json", `{"state":"running"}`},
		"/api/v1/traffic": {"application/json", `{"days":[]}`},
	} {
		answer, body := ask(t, s, "GET", path, nil)
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != want.kind || !strings.Contains(body, want.text) {
			t.Errorf("%s: %s %v %q, want %q", path, answer.Status, answer.Header, body, want)
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none';") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if answer.Header.Get("X-Content-Type-Options") != "nosniff" || answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", path, answer.Header)
		}
	}
	for _, path := range []string{"/api/v1/peers", "/nothing", "/index.html"} { // this program has no peers
		if answer, _ := ask(t, s, "GET", path, nil); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

// A program without a history of the host's traffic has no such page.
func TestNoTraffic(t *testing.T) {
	s := serve(t, Config{}, Program{}, nil)
	if answer, _ := ask(t, s, "GET", "/api/v1/traffic", nil); answer.StatusCode != http.StatusNotFound {
		t.Errorf("traffic: %s", answer.Status)
	}
}

func TestHealth(t *testing.T) {
	for state, want := range map[string][2]int{"running": {200, 200}, "initial": {200, 503}, "hangs": {503, 503}} {
		s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{Status: status(state)}, nil)
		for i, path := range []string{"/healthz", "/readyz"} {
			if answer, _ := ask(t, s, "GET", path, nil); answer.StatusCode != want[i] {
				t.Errorf("%s of a program that is %s: %s", path, state, answer.Status)
			}
		}
	}
}

// What strangers have chosen is escaped in JSON, and has no place in metrics.
func TestHostileWords(t *testing.T) {
	const hostile = "</script><script>alert(1)</script>\"\n\x00"
	s := serve(t, Config{}, Program{Status: status(hostile)}, nil)
	if _, body := ask(t, s, "GET", "/api/v1/status", nil); strings.ContainsAny(body, "<>\n\x00") {
		t.Errorf("status %q", body)
	}
	if _, body := ask(t, s, "GET", "/metrics", nil); strings.Contains(body, "script") || !strings.Contains(body, "teredo_state{state=\"running\"} 0\n") {
		t.Errorf("metrics %q", body)
	}
}

func TestRefusals(t *testing.T) {
	s := serve(t, Config{Hosts: []string{"Teredo.Example.NET", "[2001:DB8::5]:80"}}, Program{}, nil)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	for name, test := range map[string]struct {
		method string
		change func(*http.Request)
		code   int
		why    refusal
	}{
		"the name of a foreign page":      {"GET", host("evil.example"), 421, foreignHost},
		"with our port":                   {"GET", host("evil.example:9544"), 421, foreignHost},
		"another address":                 {"GET", host("192.0.2.1"), 421, foreignHost},
		"the unspecified address":         {"GET", host("0.0.0.0"), 421, foreignHost},
		"a name that begins like ours":    {"GET", host("localhost.evil.example"), 421, foreignHost},
		"a name that ends like ours":      {"GET", host("evil-teredo.example.net"), 421, foreignHost},
		"an address as part of a name":    {"GET", host("127.0.0.1.evil.example"), 421, foreignHost},
		"POST":                            {"POST", nil, 405, wrongMethod},
		"DELETE":                          {"DELETE", nil, 405, wrongMethod},
		"OPTIONS, as before a cross-site": {"OPTIONS", nil, 405, wrongMethod},
		"a body": {"GET", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), 1
		}, 413, withBody},
		"a body of unknown length": {"GET", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader("x")), -1
		}, 413, withBody},
	} {
		was := s.refused[test.why].Load()
		answer, body := ask(t, s, test.method, "/api/v1/status", test.change)
		if answer.StatusCode != test.code || strings.Contains(body, "running") {
			t.Errorf("%s: %s %q, want %d", name, answer.Status, body, test.code)
		}
		if got := s.refused[test.why].Load() - was; got != 1 {
			t.Errorf("%s: counted %d times", name, got)
		}
	}
	for _, name := range []string{"localhost", "LOCALHOST:1234", "localhost.", "127.0.0.1", "127.8.9.1:80", "[::1]:80", "teredo.example.net:443", "[2001:db8::5]"} {
		if answer, _ := ask(t, s, "GET", "/", host(name)); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", name, answer.Status)
		}
	}
	if _, body := ask(t, s, "GET", "/metrics", nil); !strings.Contains(body, "teredo_web_refused_total{reason=\"host\"} 7\n") {
		t.Errorf("metrics %q", body)
	}
}

func TestToken(t *testing.T) {
	s := serve(t, Config{TokenFile: write(t, secretWord+"\n", 0o600)}, Program{
		Peers:   func(context.Context) (any, error) { return []row{}, nil },
		Traffic: func(context.Context) (any, error) { return nil, nil },
	}, nil)
	password := func(user, word string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, word) }
	}
	header := func(text string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", text) }
	}
	for _, path := range []string{"/", "/metrics", "/api/v1/status", "/api/v1/peers", "/api/v1/traffic"} {
		for name, right := range map[string]func(*http.Request){"bearer": header("Bearer " + secretWord), "password": password("", secretWord), "with a user": password("me", secretWord)} {
			if answer, _ := ask(t, s, "GET", path, right); answer.StatusCode != http.StatusOK {
				t.Errorf("%s, %s: %s", path, name, answer.Status)
			}
		}
		for name, wrong := range map[string]func(*http.Request){
			"none": nil, "empty": header("Bearer "), "shorter": header("Bearer " + secretWord[1:]), "longer": header("Bearer " + secretWord + "0"),
			"another": password("", strings.ToUpper(secretWord)), "as the user": password(secretWord, ""), "another scheme": header("Digest " + secretWord),
		} {
			was := s.refused[wrongToken].Load()
			answer, body := ask(t, s, "GET", path, wrong)
			if answer.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(answer.Header.Get("WWW-Authenticate"), map[bool]string{true: "Bearer ", false: "Basic "}[path == "/"]) || strings.Contains(body, "running") {
				t.Errorf("%s, %s: %s %q", path, name, answer.Status, body)
			}
			if got := s.refused[wrongToken].Load() - was; got != 1 {
				t.Errorf("%s, %s: counted %d times", path, name, got)
			}
		}
	}
}

func TestTokenFiles(t *testing.T) {
	loopback := netip.MustParseAddrPort("127.0.0.1:0")
	for text, want := range map[string]string{
		"short":                              "has 5 bytes and needs 16",
		"two words that are long enough":     "one word of ASCII",
		strings.Repeat("x", mostToken+1):     "larger than 4096 bytes",
		strings.Repeat("\u00e4", leastToken): "one word of ASCII",
	} {
		if _, err := Listen(Config{Address: loopback, TokenFile: write(t, text, 0o600)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: error %v, want %q in it", text, err, want)
		}
	}
	if _, err := Listen(Config{Address: loopback, TokenFile: write(t, secretWord, 0o640)}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that others can read: error %v", err)
	}
	if _, err := Listen(Config{Address: loopback, TokenFile: "/nonexistent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: error %v", err)
	}
	if _, err := Listen(Config{Address: loopback, TokenFile: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder: error %v", err)
	}
}

func TestListenRefuses(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		if _, err := Listen(Config{Address: netip.MustParseAddrPort(address)}); !errors.Is(err, ErrNeedsToken) {
			t.Errorf("%s without a token: error %v", address, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(Config{Address: netip.MustParseAddrPort(l.Addr().String())}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address in use: error %v", err)
	}
}

// A site at all addresses answers to the address that a request came to.
func TestEveryAddress(t *testing.T) {
	s := serve(t, Config{Address: netip.MustParseAddrPort("0.0.0.0:0"), TokenFile: write(t, secretWord, 0o600)}, Program{}, nil)
	for host, code := range map[string]int{"127.0.0.1": 200, "127.0.0.2": 200, "192.0.2.1": 421, "evil.example": 421} {
		if answer, _ := ask(t, s, "GET", "/healthz", func(r *http.Request) {
			r.Host = host
		}); answer.StatusCode != code {
			t.Errorf("%s: %s, want %d", host, answer.Status, code)
		}
	}
}

// The list of peers is for those with a token, has those first that were heard of last, and is as long as the caller wants.
func TestPeers(t *testing.T) {
	var list []row
	for i := range 3 * mostPeers {
		list = append(list, row{fmt.Sprintf("<%d>", i), float64((i*7919)%(3*mostPeers) + 1)})
	}
	peers := Program{Peers: func(context.Context) (any, error) { return list, nil }}
	if answer, body := ask(t, serve(t, Config{}, peers, nil), "GET", "/api/v1/peers", nil); answer.StatusCode != http.StatusForbidden || strings.Contains(body, "idle") {
		t.Errorf("without a token: %s %.100s", answer.Status, body)
	}
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, peers, nil)
	token := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+secretWord) }
	for query, rows := range map[string]int{"": fewPeers, "?limit=1": 1, "?limit=1000": mostPeers} {
		answer, body := ask(t, s, "GET", "/api/v1/peers"+query, token)
		if answer.StatusCode != http.StatusOK || strings.Count(body, `"name"`) != rows || strings.ContainsAny(body, "<>") {
			t.Errorf("%q: %s with %d rows, want %d", query, answer.Status, strings.Count(body, `"name"`), rows)
		}
		if !strings.HasPrefix(body, `[{"name":"\u003c0\u003e","idle":1}`) || !strings.HasSuffix(body, "]") {
			t.Errorf("%q: %.100s", query, body)
		}
	}
	for _, limit := range []string{"0", "-1", "1001", "99999999999999999999", "x"} {
		if answer, _ := ask(t, s, "GET", "/api/v1/peers?limit="+limit, token); answer.StatusCode != http.StatusBadRequest {
			t.Errorf("limit %s: %s", limit, answer.Status)
		}
	}
	list = nil
	if _, body := ask(t, serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, peers, nil), "GET", "/api/v1/peers", token); body != "[]" {
		t.Errorf("no peers: %s", body)
	}
}

// raw opens a connection and writes text.
func raw(t *testing.T, s *Site, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_, _ = io.WriteString(c, text) // the site may close it meanwhile
	return c
}

// What is too large, too slow or no HTTP ends the connection, and is counted.
func TestMalformed(t *testing.T) {
	s := serve(t, Config{}, Program{}, nil)
	begin := "GET / HTTP/1.1\r\nHost: localhost\r\n"
	for i, test := range []struct{ name, text, answer string }{
		{"a large header", begin + "X: " + strings.Repeat("x", 2*mostHeader) + "\r\n\r\n", "HTTP/1.1 431"},
		{"a long address", "GET /" + strings.Repeat("x", 2*mostHeader) + " HTTP/1.1\r\n\r\n", "HTTP/1.1 431"},
		{"many headers", begin + strings.Repeat("X: x\r\n", mostHeader) + "\r\n", "HTTP/1.1 431"},
		{"no HTTP", "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", "HTTP/1.1 400"},
		{"two hosts", begin + "Host: evil.example\r\n\r\n", "HTTP/1.1 400"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
	} {
		c := raw(t, s, test.text)
		line, _ := bufio.NewReader(c).ReadString('\n') // the connection may be reset behind it
		if !strings.HasPrefix(line, test.answer) {
			t.Errorf("%s: %q", test.name, line)
		}
		await(t, s, malformed, uint64(i+1))
	}
	hasty := serve(t, Config{}, Program{}, func(s *Site) { s.server.ReadTimeout = 200 * time.Millisecond })
	raw(t, hasty, begin+"X")
	await(t, hasty, malformed, 1)
	if answer, _ := ask(t, s, "GET", "/", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("after that: %s", answer.Status)
	}
}

// A caller that does not read loses its connection, and others have their answers meanwhile.
func TestSlowReader(t *testing.T) {
	big := make([]row, mostPeers)
	for i := range big {
		big[i] = row{Name: strings.Repeat("x", 32<<10)} // more than sockets buffer
	}
	s := serve(t, Config{TokenFile: write(t, secretWord, 0o600)}, Program{
		Peers: func(context.Context) (any, error) { return big, nil },
	}, func(s *Site) { s.server.WriteTimeout = 500 * time.Millisecond })
	raw(t, s, "GET /api/v1/peers?limit=1000 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+secretWord+"\r\n\r\n")
	if answer, _ := ask(t, s, "GET", "/healthz", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("another: %s", answer.Status)
	}
	await(t, s, slowReader, 1)
}

// Connections beyond the bound are refused at once. The places of those who ask nothing are given to others.
func TestManyConnections(t *testing.T) {
	s := serve(t, Config{}, Program{}, nil)
	for range mostConnections {
		c := raw(t, s, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 200") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	if _, err := bufio.NewReader(raw(t, s, "")).ReadByte(); err == nil {
		t.Error("one connection too many was answered")
	}
	await(t, s, tooMany, 1)
	for s.open.Load() >= mostConnections {
		time.Sleep(time.Millisecond)
	}
	if answer, _ := ask(t, s, "GET", "/healthz", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("the next one: %s", answer.Status)
	}
}

// Hundreds of viewers get the same answer, for which the program is asked once a second.
func TestViewersShare(t *testing.T) {
	var mu sync.Mutex
	asked := 0
	begun := time.Now()
	s := serve(t, Config{}, Program{Status: func(ctx context.Context) (Status, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		return status("running")(ctx)
	}}, nil)
	var viewers sync.WaitGroup
	for range 300 {
		viewers.Go(func() {
			for _, path := range []string{"/metrics", "/api/v1/status", "/readyz"} {
				if answer, _ := ask(t, s, "GET", path, nil); answer.StatusCode != http.StatusOK {
					t.Errorf("%s: %s", path, answer.Status)
				}
			}
		})
	}
	viewers.Wait()
	if most := 1 + int(time.Since(begun)/keep); asked > most {
		t.Errorf("the program was asked %d times, want %d at most", asked, most)
	}
}

func TestSharedFailure(t *testing.T) {
	fails := errors.New("not now")
	s := share(func(context.Context) (int, error) { return 7, fails })
	if _, err := s.get(t.Context()); !errors.Is(err, fails) {
		t.Errorf("error %v", err)
	}
	fails = nil // a failure is not kept
	if n, err := s.get(t.Context()); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	s.turn <- struct{}{} // somebody else is at it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: error %v", err)
	}
}
