package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/teredo-suite/teredo/internal/control"
)

// script answers questions: what is true from a time on, nothing before the first.
type script struct {
	begun time.Time
	steps []step
}

type step struct {
	at     time.Duration
	answer string
	err    error
}

func (s *script) ask(context.Context) (json.RawMessage, error) {
	now := step{err: control.ErrNotRunning}
	for _, next := range s.steps {
		if time.Since(s.begun) >= next.at {
			now = next
		}
	}
	if now.err != nil {
		return nil, now.err
	}
	return json.RawMessage(now.answer), nil
}

// --wait ends when the program works, and tells what it waits for until then.
func TestWait(t *testing.T) {
	const (
		starting  = `{"state": "starting", "waiting_for": "the server"}`
		failed    = `{"state": "offline", "waiting_for": "the next try", "last_error": "no answer"}`
		qualified = `{"state": "qualified"}`
	)
	refused := errors.New("no permission")
	const absent = "the program to start (control socket /x)"
	for name, test := range map[string]struct {
		limit time.Duration
		steps []step
		told  []string
		took  time.Duration // give or take one question
		err   string
	}{
		"it works":              {-1, []step{{0, qualified, nil}}, nil, 0, ""},
		"it is started later":   {-1, []step{{time.Hour, starting, nil}, {2 * time.Hour, failed, nil}, {3 * time.Hour, qualified, nil}}, []string{absent, "the server", "the next try (no answer)"}, 3 * time.Hour, ""},
		"it is restarted":       {-1, []step{{0, starting, nil}, {time.Minute, "", control.ErrNotRunning}, {2 * time.Minute, qualified, nil}}, []string{"the server", absent}, 2 * time.Minute, ""},
		"in time":               {time.Minute, []step{{59 * time.Second, qualified, nil}}, []string{absent}, 59 * time.Second, ""},
		"too late":              {time.Minute, []step{{0, starting, nil}, {time.Hour, qualified, nil}}, []string{"the server"}, time.Minute, "after 1m0s it still waits for the server"},
		"no time, and it works": {0, []step{{0, qualified, nil}}, nil, 0, ""},
		"no time":               {0, []step{{0, failed, nil}}, []string{"the next try (no answer)"}, 0, "after 0s it still waits for the next try (no answer)"},
		"not allowed":           {-1, []step{{0, "", refused}}, nil, 0, "no permission"},
		"native IPv6":           {-1, []step{{0, `{"state": "offline", "native_ipv6": "eth0"}`, nil}}, nil, 0, ""},
		"a server":              {-1, []step{{0, `{"state": "initial"}`, nil}, {time.Minute, `{"state": "running"}`, nil}}, []string{"state initial to end"}, time.Minute, ""},
		"new paths wait":        {-1, []step{{0, `{"state": "qualified", "last_error": "silent"}`, nil}, {time.Minute, qualified, nil}}, []string{"its last error to go away: silent"}, time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := script{time.Now(), test.steps}
				var told []string
				tell := func(what string) {
					if len(told) == 0 || told[len(told)-1] != what {
						told = append(told, what)
					}
				}
				answer, err := Wait{asked: true, limit: test.limit}.until(t.Context(), "/x", s.ask, tell)
				if took := time.Since(s.begun); took < test.took || took > test.took+askAgain {
					t.Errorf("it took %v, want %v", took, test.took)
				}
				if got := fmt.Sprint(err); err == nil && test.err != "" || err != nil && got != test.err {
					t.Errorf("error %v, want %q", err, test.err)
				}
				if last := test.steps[len(test.steps)-1].answer; err == nil && string(answer) != last {
					t.Errorf("answer %s, want %s", answer, last)
				}
				if !slices.Equal(told, test.told) {
					t.Errorf("told %q, want %q", told, test.told)
				}
			})
		})
	}
}

// A script that goes on after an interrupted wait must not take it for a success.
func TestWaitInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithTimeout(t.Context(), time.Minute)
		defer interrupt()
		s := script{begun: time.Now()}
		_, err := Wait{asked: true, limit: -1}.until(ctx, "/x", s.ask, func(string) {})
		if err == nil || !strings.HasPrefix(err.Error(), "interrupted") || errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
}

// answering has a control socket answer.
func answering(t *testing.T, answers map[string]string) (socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "x.sock")
	l, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	questions := make(map[string]control.Question)
	for what, answer := range answers {
		questions[what] = control.Question{Answer: func(context.Context) (any, error) { return json.RawMessage(answer), nil }}
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- control.Serve(ctx, l, questions) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return socket
}

// The exit code of the status command tells an off-line client, in text and JSON.
func TestStatusExitCodes(t *testing.T) {
	for name, test := range map[string]struct {
		status, args string
		code         int
		stderr       string
	}{
		"qualified":                {`{"state": "qualified"}`, "", 0, ""},
		"running":                  {`{"state": "running"}`, "--json", 0, ""},
		"initial":                  {`{"state": "initial"}`, "", 0, ""},
		"starting":                 {`{"state": "starting"}`, "", 0, ""},
		"offline":                  {`{"state": "offline"}`, "", 3, ""},
		"offline as JSON":          {`{"state": "offline"}`, "--json", 3, ""},
		"native IPv6":              {`{"state": "offline", "native_ipv6": "eth0"}`, "", 0, ""},
		"wait":                     {`{"state": "qualified"}`, "--wait", 0, ""},
		"wait, in time":            {`{"state": "qualified"}`, "--wait=1m --json", 0, ""},
		"wait, too short":          {`{"state": "offline", "waiting_for": "Godot"}`, "--wait=0s", 1, "Waiting for Godot\nteredo-test: after 0s it still waits for Godot\n"},
		"wait, no duration":        {`{}`, "--wait=long", 64, "teredo-test: --wait: \"long\" is not a duration such as 30s or 5m\nSee teredo-test status --help.\n"},
		"wait, a duration forgone": {`{}`, "--wait=-1s", 64, "teredo-test: --wait: \"-1s\" is not a duration such as 30s or 5m\nSee teredo-test status --help.\n"},
		"wait and watch":           {`{}`, "--wait --watch", 64, "teredo-test: --wait and --watch can't be used together\nSee teredo-test status --help.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"status", "--control", answering(t, map[string]string{"status": test.status})}, strings.Fields(test.args)...)
			code, stdout, stderr := call(t.Context(), args...)
			if code != test.code || stderr != test.stderr || (stdout == "") != (code == 1 || code == 64) {
				t.Errorf("exit code %d, output %q, errors %q; want %d and %q", code, stdout, stderr, test.code, test.stderr)
			}
		})
	}
}

// --wait also finds a user's program that is started after the question: its control socket is not where that of the system is.
func TestWaitForUsersProgram(t *testing.T) {
	p := program()
	p.UserControl = filepath.Join(t.TempDir(), "test.sock")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	serving := errgroup.Group{}
	var out strings.Builder
	code := p.run(ctx, nil, new(commands), []string{"status", "--json", "--wait"}, &out, writerFunc(func() { // it waits
		l, err := control.Listen(p.UserControl)
		if err != nil {
			t.Error(err)
			cancel()
			return
		}
		serving.Go(func() error {
			return control.Serve(ctx, l, map[string]control.Question{"status": {Answer: func(context.Context) (any, error) {
				return testStatus{State: "running"}, nil
			}}})
		})
	}))
	cancel()
	if err := serving.Wait(); err != nil {
		t.Error(err)
	}
	if code != 0 || !strings.Contains(out.String(), "running") {
		t.Errorf("exit code %d: %s", code, &out)
	}
}

// writerFunc is called when something is written.
type writerFunc func()

func (f writerFunc) Write(text []byte) (int, error) {
	f()
	return len(text), nil
}
