package worker

import (
	"bytes"
	"context"
	"errors"
	"runtime/pprof"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/leak"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// When a worker fails the others are told to end, and the group returns its error. A goroutine dump names all of them.
func TestGroup(t *testing.T) {
	failure := errors.New("no more packets")
	group, ctx := NewGroup(t.Context())
	running, fail := make(chan struct{}), make(chan struct{})
	group.Go("waits", func(ctx context.Context) error {
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	})
	group.Go("fails", func(context.Context) error {
		<-fail
		return failure
	})
	<-running
	var dump bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&dump, 1); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(dump.String(), `"worker":"waits"`) {
		t.Errorf("no worker named waits in\n%s", dump.String())
	}
	close(fail)
	if err := group.Wait(); err != failure {
		t.Errorf("ended with %v", err)
	}
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}
