package control

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The program of one user answers to who has read its token, and to nobody else. It is the only one at its path, and leaves nothing.
func TestTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "test.sock")
	if err := Get(t.Context(), path, "status", new(int)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before the start: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	circle, err := NewCircle("")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		ended <- Serve(ctx, l, map[string]Question{"status": {Answer: func(context.Context) (any, error) { return 7, nil }, Circle: circle}})
	}()
	var answer int
	if err := Get(t.Context(), path, "status", &answer); err != nil || answer != 7 {
		t.Errorf("%d, %v", answer, err)
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("a second program: %v", err)
	}
	if err := Get(t.Context(), path, "status", &answer); err != nil || answer != 7 {
		t.Errorf("after the second program: %d, %v", answer, err)
	}
	for _, token := range []string{"", "Bearer wrong"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+"/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", token)
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized || !strings.Contains(string(text), "token") {
			t.Errorf("token %q: %d %s", token, response.StatusCode, text)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
	if conn, err := net.Dial("tcp4", l.Addr().String()); err == nil {
		conn.Close()
		t.Error("the port is left open")
	}
}

// What a killed program left behind is replaced.
func TestStaleTokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.sock")
	if err := os.WriteFile(path, []byte("127.0.0.1:9 token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Get(t.Context(), path, "status", new(int)); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a port that nobody listens at: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("192.0.2.1:9 token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Get(t.Context(), path, "status", new(int)); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("a host that is not this one: %v", err)
	}
}
