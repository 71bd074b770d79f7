package cli

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSignals runs the test binary as a program under a systemd of our own: the first signal ends the context, the
// second one kills. SIGHUP does neither.
func TestSignals(t *testing.T) {
	tests := map[string]struct {
		end     string
		signals []syscall.Signal
		killed  bool
	}{
		"SIGTERM":                 {"signal", []syscall.Signal{syscall.SIGTERM}, false},
		"SIGINT":                  {"signal", []syscall.Signal{syscall.SIGINT}, false},
		"SIGHUP ends nothing":     {"signal", []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, false},
		"a second signal":         {"hang", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, true},
		"a second, other, signal": {"hang", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			systemd := listenNotify(t)
			program := exec.Command(os.Args[0], "run", "--server", "a", "--end", test.end)
			program.Env = append(os.Environ(), "TEREDO_TEST_PROGRAM=1", "NOTIFY_SOCKET="+systemd.LocalAddr().String())
			program.Stderr = t.Output()
			if err := program.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { program.Process.Kill() })
			expectNotify(t, systemd, "READY=1\nSTATUS=Waiting")
			stopped := false
			for _, signal := range test.signals {
				if err := program.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
				if signal != syscall.SIGHUP && !stopped {
					expectNotify(t, systemd, "STOPPING=1")
					stopped = true
				}
			}
			err := program.Wait()
			if !test.killed {
				if err != nil {
					t.Errorf("%v; want exit code 0", err)
				}
				return
			}
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.Sys().(syscall.WaitStatus).Signal() != test.signals[1] {
				t.Errorf("%v; want it killed by %v", err, test.signals[1])
			}
		})
	}
}

func listenNotify(t *testing.T) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Net: "unixgram", Name: filepath.Join(t.TempDir(), "notify")}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(time.Minute)) // only so that a broken program cannot hang the test
	return conn
}

func expectNotify(t *testing.T, systemd *net.UnixConn, want string) {
	t.Helper()
	b := make([]byte, 512)
	n, err := systemd.Read(b)
	if got := strings.TrimSpace(string(b[:n])); err != nil || got != want {
		t.Fatalf("systemd was told %q, %v; want %q", got, err, want)
	}
}

// A crash must not look like wrong usage, after which systemd leaves a program down.
func TestCrash(t *testing.T) {
	program := exec.Command(os.Args[0], "run", "--server", "a", "--end", "crashed")
	program.Env = append(os.Environ(), "TEREDO_TEST_PROGRAM=1")
	err := program.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() == exitUsage || exit.ExitCode() <= exitFailure {
		t.Errorf("%v; want the exit code of a crash", err)
	}
}
