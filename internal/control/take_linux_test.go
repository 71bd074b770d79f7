package control

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/worker"
)

// A caller and the program talk over the socket itself, in a way of their own: nothing of what either says is lost to HTTP, whoever
// speaks first. The connection ends with the program's function.
func TestTake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	serving, _ := worker.NewGroup(ctx)
	serving.Go("control", func(ctx context.Context) error {
		return Serve(ctx, l, map[string]Question{"talk": {Take: func(c *net.UnixConn) {
			_, _ = io.WriteString(c, "hello")
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); err == nil {
				_, _ = c.Write(b)
			}
		}}, "status": {Answer: func(context.Context) (any, error) { return 1, nil }}})
	})
	for range 20 {
		c, err := Connect(ctx, path, "talk")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "world"); err != nil {
			t.Fatal(err)
		}
		if said, err := io.ReadAll(c); err != nil || string(said) != "helloworld" {
			t.Errorf("the program says %q, %v", said, err)
		}
		c.Close()
	}
	for _, what := range []string{"status", "missing"} {
		if c, err := Connect(ctx, path, what); err == nil {
			t.Errorf("connected for %s: %v", what, c)
		}
	}
	stop()
	if err := serving.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := Connect(t.Context(), path, "talk"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v, want %v", err, ErrNotRunning)
	}
}
