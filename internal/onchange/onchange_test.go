package onchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/leak"
	"github.com/teredo-suite/teredo/internal/onchange"
)

// TestMain is also the runner, when it is started with two arguments.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "runner" {
		if err := onchange.Serve(os.Stdin, os.Args[2], onchange.Limit, slog.Default()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	leak.VerifyTestMain(m)
}

var (
	qualified = onchange.Event{
		State: onchange.Qualified, Address: netip.MustParseAddr("2001:0:c000:201::1"), NativeAddress: netip.MustParseAddr("2001:db8:c::1"),
	}
	offline = onchange.Event{State: onchange.Offline}
)

// told is a command that writes what it is told into a file.
func told(file string) string {
	return fmt.Sprintf(`echo "$TEREDO_INTERFACE $TEREDO_STATE <$TEREDO_ADDRESS> <$TEREDO_NATIVE_ADDRESS>" >>'%s'`, file)
}

// wait waits until the file has the text.
func wait(t *testing.T, file, text string) {
	t.Helper()
	for late := time.After(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(file) // it may not be there yet
		if string(b) == text {
			return
		}
		select {
		case <-late:
			t.Fatalf("the file has %q, want %q", b, text)
		default:
		}
	}
}

// The command runs with each event, and once more when the client stops, which waits for it.
func TestEvents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	h, err := onchange.Start(slog.New(slog.DiscardHandler), "tun0", "runner", told(file))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Run(ctx)
	}()
	want := "tun0 qualified <2001:0:c000:201::1> <2001:db8:c::1>\n"
	h.Tell(qualified)
	wait(t, file, want)
	h.Tell(offline)
	want += "tun0 offline <> <>\n"
	wait(t, file, want)
	cancel()
	<-ended
	want += "tun0 stopped <> <>\n"
	if got, err := os.ReadFile(file); string(got) != want || err != nil {
		t.Errorf("told %q, %v; want %q", got, err, want)
	}
}

// The client goes on, and says so, when the runner is gone.
func TestRunnerGone(t *testing.T) {
	var log bytes.Buffer
	h, err := onchange.Start(slog.New(slog.NewTextHandler(&log, nil)), "tun0", "runner", "kill -9 $PPID")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := byte(0); ; i++ { // until one of them finds nobody
			e := qualified
			e.Address = netip.AddrFrom16([16]byte{15: i})
			select {
			case <-t.Context().Done():
				return
			case <-time.After(10 * time.Millisecond):
				h.Tell(e)
			}
		}
	}()
	h.Run(t.Context())
	if !strings.Contains(log.String(), "not run any more") {
		t.Errorf("log: %s", log.String())
	}
}

// serve runs the runner with events until its input ends.
func serve(t *testing.T, command string, limit time.Duration) (tell func(onchange.Event), end func() (log string)) {
	r, w := io.Pipe()
	var log bytes.Buffer
	ended := make(chan error)
	go func() { ended <- onchange.Serve(r, command, limit, slog.New(slog.NewTextHandler(&log, nil))) }()
	to := json.NewEncoder(w)
	tell = func(e onchange.Event) {
		if err := to.Encode(e); err != nil {
			t.Error(err)
		}
	}
	return tell, func() string {
		w.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		return log.String()
	}
}

// While the command runs, only the latest event counts; one that repeats what the command was told last is left out.
func TestLatestWins(t *testing.T) {
	folder := t.TempDir()
	file, go_ := filepath.Join(folder, "told"), filepath.Join(folder, "go")
	tell, end := serve(t, told(file)+fmt.Sprintf("; until [ -e '%s' ]; do sleep 0.01; done", go_), time.Hour)
	tell(qualified)
	wait(t, file, " qualified <2001:0:c000:201::1> <2001:db8:c::1>\n")
	for range 100 {
		tell(offline)
		tell(qualified)
	}
	tell(offline)
	if err := os.WriteFile(go_, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if log := end(); log != "" {
		t.Error(log)
	}
	wait(t, file, " qualified <2001:0:c000:201::1> <2001:db8:c::1>\n offline <> <>\n")
}

// A command that fails, or that takes too long, is logged.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		command, want string
		limit         time.Duration
	}{
		{"exit 7", "exit status 7", time.Hour},
		{"sleep 10000 & sleep 10000", "longer than 100ms", 100 * time.Millisecond},
	} {
		t.Run(test.command, func(t *testing.T) {
			tell, end := serve(t, test.command, test.limit)
			tell(qualified)
			if log := end(); !strings.Contains(log, test.want) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

// What is no event ends the runner.
func TestMalformed(t *testing.T) {
	if err := onchange.Serve(strings.NewReader("{]"), "exit", time.Hour, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("no error")
	}
}
