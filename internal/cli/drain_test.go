package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/control"
)

// announced is a service with an announcer.
type announced struct {
	*Announcer
	changes []bool
	fails   error
	load    announce.Load
	unknown error
}

func newAnnounced(log *slog.Logger, f DrainFlags) *announced {
	s := new(announced)
	s.Announcer = NewAnnouncer(log, "test", f, func(on bool) error {
		if s.fails == nil {
			s.changes = append(s.changes, on)
		}
		return s.fails
	}, func(context.Context) (announce.Load, error) { return s.load, s.unknown })
	return s
}

// A program announces its services when they are ready, follows their load, and leaves when all of them have drained.
func TestDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := slog.New(slog.NewTextHandler(&text, nil))
		flags := DrainFlags{DrainIdle: 30 * time.Second, DrainTime: 5 * time.Minute}
		server, relay := newAnnounced(log, flags), newAnnounced(log, flags)
		d, ctx := newDrains(t.Context(), log, []*Announcer{server.Announcer, relay.Announcer})
		ended := make(chan error)
		go func() { ended <- d.run(ctx) }()
		want := func(s *announced, status announce.Status, changes ...bool) {
			t.Helper()
			synctest.Wait()
			if got := s.Status(); got != status || !slices.Equal(s.changes, changes) {
				t.Errorf("status %+v, changes %v; want %+v, %v", got, s.changes, status, changes)
			}
		}
		pass := func(seconds int, add func()) {
			for range seconds {
				add()
				time.Sleep(lookEvery)
				synctest.Wait()
			}
		}
		nothing := func() {}
		want(server, announce.Unannounced())

		relay.fails = errors.New("no permission")
		server.Ready()
		relay.Ready()
		want(server, announce.Status{Announced: true}, true)
		want(relay, announce.Status{})
		relay.fails = nil
		pass(1, nothing)
		want(relay, announce.Status{Announced: true}, true)

		pass(10, func() { relay.load.Budgets += 1000 })
		want(server, announce.Status{Announced: true}, true)
		want(relay, announce.Status{WithdrawnReason: announce.Budgets}, true, false)
		pass(60, nothing)
		want(relay, announce.Status{Announced: true}, true, false, true)

		d.asked <- syscall.SIGTERM // as SIGUSR1, which Windows has not
		want(server, announce.Status{WithdrawnReason: announce.Draining, DrainLeftSeconds: 300}, true, false)
		want(relay, announce.Status{WithdrawnReason: announce.Draining, DrainLeftSeconds: 300}, true, false, true, false)
		pass(100, func() { relay.load.Served++ }) // the server is idle
		if ctx.Err() != nil {
			t.Error("the program leaves while its relay serves")
		}
		relay.unknown = errors.New("busy")
		pass(100, nothing)
		if ctx.Err() != nil {
			t.Error("the program leaves though nobody knows whether its relay serves")
		}
		relay.unknown = nil
		begun := time.Now()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > lookEvery || context.Cause(ctx).Error() != "drained" {
			t.Errorf("it leaves %v after it was known to be idle: %v", took, context.Cause(ctx))
		}
		for _, line := range []string{
			"level=ERROR msg=\"cannot change what is announced, trying again\" what=test announce=true error=\"no permission\"",
			"msg=draining asked_by=SIGTERM", "what=test reason=overload-budgets", "what=test reason=draining",
		} {
			if strings.Count(text.String(), line) == 0 {
				t.Errorf("no %q in the log:\n%s", line, &text)
			}
		}
	})
}

// The drain command waits until the program has stopped, or another one has taken its place, and says what it waits for.
func TestAwaitDrained(t *testing.T) {
	draining := func(idle, left int) string {
		return fmt.Sprintf(`{"state": "draining", "drain_idle_seconds": %d, "drain_left_seconds": %d}`, idle, left)
	}
	refused := errors.New("no permission")
	for name, test := range map[string]struct {
		steps []step
		told  []string
		took  time.Duration
		err   error
	}{
		"it stops": {[]step{{0, draining(0, 300), nil}, {time.Second, draining(1, 299), nil}, {2 * time.Second, draining(25, 271), nil}, {time.Minute, `{"state": "stopping"}`, nil}, {time.Hour, "", control.ErrNotRunning}},
			[]string{"clients to leave, 5m10s at most", "clients to leave, 5m0s at most", "clients to leave (none has come for 20s), 4m40s at most", "the program to stop"}, time.Hour, nil},
		"another one runs": {[]step{{0, draining(0, 5), nil}, {time.Minute, `{"state": "running"}`, nil}}, []string{"clients to leave, 10s at most"}, time.Minute, nil},
		"it has stopped":   {[]step{{0, "", control.ErrNotRunning}}, nil, 0, nil},
		"not allowed":      {[]step{{0, "", refused}}, nil, 0, refused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := script{time.Now(), test.steps}
				var told []string
				err := awaitDrained(t.Context(), s.ask, func(what string) {
					if len(told) == 0 || told[len(told)-1] != what {
						told = append(told, what)
					}
				})
				if !errors.Is(err, test.err) || !slices.Equal(told, test.told) {
					t.Errorf("error %v, told %q", err, told)
				}
				if took := time.Since(s.begun); took < test.took || took > test.took+askAgain {
					t.Errorf("it took %v, want %v", took, test.took)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
		defer interrupt()
		err := awaitDrained(ctx, func(context.Context) (json.RawMessage, error) { return json.RawMessage(draining(0, 300)), ctx.Err() }, func(string) {})
		if err == nil || !strings.Contains(err.Error(), "goes on to drain") {
			t.Errorf("error %v", err)
		}
	})
}

// Nobody drains what does not run, and that is no failure.
func TestDrainOfNothing(t *testing.T) {
	var out, errs strings.Builder
	commands := &struct {
		Drain Drain `cmd:""`
	}{}
	code := program().run(t.Context(), make(chan os.Signal), commands, []string{"drain", "--control", "/nonexistent/test.sock"}, &out, &errs)
	if code != 0 || out.String() != "teredo-test was not running.\n" {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}
