package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// serviceRun is the run command of a program that runs for long.
type serviceRun struct {
	Server string `required:""`
	Secret string
	RunFlags
}

func (s *serviceRun) Run() error { return nil }

func (s *serviceRun) Check() error {
	if s.Server == "nowhere" {
		return errors.New("that server cannot be one")
	}
	return nil
}

type serviceCommands struct {
	Run serviceRun `cmd:""`
}

// stage is a service under test.
type stage struct {
	t       *testing.T
	socket  string
	config  string
	signals chan os.Signal     // SIGHUP
	stop    func(reason error) // as a signal does
	setUp   chan struct{}      // closed: the service is set up
	clear   chan struct{}      // closed: it has tidied up
	secrets chan string        // that were read again
	err     chan error         // of Serve

	mu   sync.Mutex
	text strings.Builder // of the log
}

func (s *stage) Write(line []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(line)
}

// startService starts a service with a configuration file of this text, and with it the time that it sets itself up.
func startService(t *testing.T, config string) *stage {
	t.Helper()
	s := &stage{
		t: t, socket: filepath.Join(t.TempDir(), "x.sock"), config: writeFile(t, config),
		signals: make(chan os.Signal), setUp: make(chan struct{}), clear: make(chan struct{}),
		secrets: make(chan string), err: make(chan error, 1),
	}
	parse := func(commands any) (*kong.Context, error) {
		return program().parse(commands, []string{"run", "--control", s.socket, "--config", s.config}, kong.Writers(io.Discard, io.Discard))
	}
	commands := new(serviceCommands)
	command, err := parse(commands)
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{hangups: s.signals, command: command, parse: func() (*kong.Context, error) { return parse(new(serviceCommands)) }}
	run := &commands.Run
	p.Logger(&run.RunFlags)
	ctx, stop := context.WithCancelCause(t.Context())
	s.stop = stop
	state := newServiceState()
	go func() {
		s.err <- Serve(ctx, p, Service[serviceStatus]{
			Flags: &run.RunFlags, Log: slog.New(slog.NewTextHandler(io.MultiWriter(s, &p.latest), &slog.HandlerOptions{Level: &p.level})), State: state,
			Reload: Reload{Flags: []string{"secret"}, Take: func(context.Context) bool {
				s.secrets <- run.Secret
				return true
			}},
			Run: func(ctx context.Context) error {
				state.WaitsFor("the test")
				<-s.setUp
				state.Runs(func(context.Context) (serviceStatus, error) { return serviceStatus{State: "running"}, nil })
				<-ctx.Done()
				<-s.clear
				return nil
			},
		})
	}()
	for s.status() == (serviceStatus{}) { // until there is a control socket
	}
	return s
}

// status is what the status command gets, zero when nothing answers.
func (s *stage) status() (status serviceStatus) {
	s.t.Helper()
	if err := control.Get(s.t.Context(), s.socket, "status", &status); err != nil && !errors.Is(err, control.ErrNotRunning) {
		s.t.Fatal(err)
	}
	return status
}

// hangup sends SIGHUP, and returns the secret that was read then, and what was logged.
func (s *stage) hangup() (secret, log string) {
	s.signals <- syscall.SIGHUP
	secret = <-s.secrets
	s.mu.Lock()
	defer s.mu.Unlock()
	log = s.text.String()
	s.text.Reset()
	return secret, log
}

// The control socket answers from the first moment to the last, and the log says why the service stops.
func TestServe(t *testing.T) {
	s := startService(t, `server = "a"`)
	if got := s.status(); got != (serviceStatus{State: "initial", WaitingFor: "the test"}) {
		t.Errorf("while it sets itself up: %+v", got)
	}
	if secret, _ := s.hangup(); secret != "" { // also then
		t.Errorf("secret %q", secret)
	}
	close(s.setUp)
	for s.status().State == "initial" {
	}
	if got := s.status(); got != (serviceStatus{State: "running"}) {
		t.Errorf("while it runs: %+v", got)
	}
	s.stop(errors.New("SIGTERM"))
	for s.status().State == "running" {
	}
	if got := s.status(); got != (serviceStatus{State: "stopping"}) {
		t.Errorf("while it stops: %+v", got)
	}
	close(s.clear)
	if err := <-s.err; err != nil {
		t.Error(err)
	}
	if got := s.status(); got != (serviceStatus{}) {
		t.Errorf("after its end: %+v", got)
	}
	if got := s.text.String(); !strings.Contains(got, "level=INFO msg=stopping reason=SIGTERM\n") {
		t.Errorf("log %q", got)
	}
}

// SIGHUP takes what can change, names what cannot, and leaves all as it is when the file is wrong.
func TestReload(t *testing.T) {
	s := startService(t, "server = \"a\"\nsecret = \"one\"")
	close(s.setUp)
	close(s.clear)
	for _, step := range []struct {
		config, secret string
		log            []string
		not            []string
	}{
		{"server = \"a\"\nsecret = \"one\"", "one", []string{`msg="SIGHUP: configuration read again" file=` + s.config}, []string{"new value"}},
		{"server = \"a\"\nsecret = \"two\"", "two", []string{`level=INFO msg="the configuration has a new value" flag=secret`}, []string{"restart"}},
		{"server = \"b\"\nsecret = \"two\"\npermit-ipv4 = \"10.0.0.0/8\"", "two", []string{
			`level=WARN msg="the configuration has a new value that cannot take effect while running: restart to apply" flag=server`,
			`level=WARN msg="the configuration has a new value that cannot take effect while running: restart to apply" flag=permit-ipv4`,
		}, []string{"flag=secret"}},
		{"server = \"a\"\nsecret = 3\nlog-level = \"loud\"", "two", []string{"level=ERROR", "values in use stay", `\"loud\" is not a log level`}, []string{"new value"}},
		{"secret = \"three\"", "two", []string{"level=ERROR", "missing flags: --server"}, []string{"new value"}},
		{"server = \"nowhere\"\nsecret = \"three\"", "two", []string{"level=ERROR", "that server cannot be one"}, []string{"new value"}},
		{"server = ", "two", []string{"level=ERROR", s.config + ", line 1"}, []string{"new value"}},
		{"server = \"a\"\nlog-level = \"error\"", "", []string{"flag=secret", "flag=log-level"}, []string{"restart"}},
		{"server = \"b\"\nlog-level = \"error\"", "", nil, []string{"level"}}, // a warning is not grave enough
		{"server = \"a\"\nsecret = \"four\"\nlog-level = \"debug\"", "four", nil, []string{"restart"}},
		{"server = \"b\"\nsecret = \"four\"", "four", []string{"flag=server", "flag=log-level"}, nil},
	} {
		if err := os.WriteFile(s.config, []byte(step.config), 0o600); err != nil {
			t.Fatal(err)
		}
		secret, log := s.hangup()
		if secret != step.secret {
			t.Errorf("%q: secret %q, want %q", step.config, secret, step.secret)
		}
		for _, want := range step.log {
			if !strings.Contains(log, want) {
				t.Errorf("%q: log %q, want %q in it", step.config, log, want)
			}
		}
		for _, not := range step.not {
			if strings.Contains(log, not) {
				t.Errorf("%q: log %q, want no %q in it", step.config, log, not)
			}
		}
	}
	s.stop(nil)
	if err := <-s.err; err != nil {
		t.Error(err)
	}
}

// Without any file there is nothing to read again, and the log says so.
func TestNothingToReload(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var log strings.Builder
	signals := make(chan os.Signal)
	p := &Process{hangups: signals}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.follow(ctx, new(RunFlags), slog.New(slog.NewTextHandler(&log, nil)), Reload{})
	}()
	for range 2 { // when the second is taken, the first is done with
		signals <- syscall.SIGHUP
	}
	cancel()
	<-done
	if got := log.String(); strings.Count(got, "nothing to read again") == 0 || strings.Contains(got, "level=ERROR") {
		t.Errorf("log %q", got)
	}
}

func TestStateFile(t *testing.T) {
	f := RunFlags{Control: "/run/teredo/relay.sock"}
	t.Setenv("STATE_DIRECTORY", "")
	if got := f.StateFile("forwarding"); got != "/run/teredo/relay.forwarding" {
		t.Errorf("without a folder for state: %s", got)
	}
	t.Setenv("STATE_DIRECTORY", "/var/lib/teredo")
	if got := f.StateFile("forwarding"); got != "/var/lib/teredo/relay.forwarding" {
		t.Errorf("with one: %s", got)
	}
}
