package cli

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/control"
)

// down runs the down command.
func down(ctx context.Context, socket string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	commands := &struct {
		Down Down `cmd:""`
	}{}
	code = program().run(ctx, nil, commands, []string{"down", "--control", socket}, &out, &errs)
	return code, out.String(), errs.String()
}

// What systemd has started is left to systemd, and what tells no process ID to the person who runs it.
func TestDownRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		program runningProgram
		want    string
	}{
		"a unit":      {runningProgram{PID: 1 << 30, Unit: "teredo-client.service"}, "run 'systemctl stop teredo-client.service'"},
		"another one": {runningProgram{}, "stop it by its process ID"},
	} {
		t.Run(name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "test.sock")
			l, err := control.Listen(socket)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error)
			go func() {
				served <- control.Serve(ctx, l, map[string]control.Question{"report": {Answer: func(context.Context) (any, error) { return test.program, nil }}})
			}()
			code, _, stderr := down(t.Context(), socket)
			if code != 1 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d: %s", code, stderr)
			}
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
	if code, stdout, _ := down(t.Context(), "/nonexistent/test.sock"); code != 0 || stdout != "teredo-test was not running.\n" {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

// The unit is in the last line of /proc/self/cgroup, for both kinds of control groups.
func TestUnit(t *testing.T) {
	for cgroups, want := range map[string]string{
		"0::/system.slice/teredo-client.service\n":                                       "teredo-client.service",
		"12:memory:/system.slice\n1:name=systemd:/system.slice/a.service\n0::/a.service": "a.service",
		"0::/user.slice/user-0.slice/session-1.scope\n":                                  "",
		"0::/\n": "",
		"":       "",
	} {
		if unit := unitIn(cgroups); unit != want {
			t.Errorf("%q: unit %q, want %q", cgroups, unit, want)
		}
	}
}
