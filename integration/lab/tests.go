//go:build linux

package lab

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

const (
	binFolder  = "TEREDO_TEST_BIN"  // environment: where the programs are
	skipReason = "TEREDO_TEST_SKIP" // environment: why no lab is possible
)

// Main is the body of TestMain: it builds the programs, runs the tests in namespaces of their own, and exits.
func Main(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	switch {
	case testing.Short():
		return skipAll(m, "not for -short")
	case Isolated():
		if err := Enter(); err != nil {
			return 0, err
		}
		// The tests mostly wait, so many can run at once. Those that work hard take turns.
		if err := flag.Set("test.parallel", "64"); err != nil {
			return 0, err
		}
		return m.Run(), nil
	case os.Geteuid() != 0 && os.Getenv("CI") == "true":
		return 0, errors.New("CI must not skip these tests: run them as root")
	case os.Geteuid() != 0:
		return skipAll(m, "needs root: Miredo and tcpdump change to other users")
	}
	bin, err := os.MkdirTemp("", "teredo-integration")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	if err := os.Chmod(bin, 0o755); err != nil { // for users without privileges
		return 0, err
	}
	if err := BuildPrograms(bin); err != nil {
		return 0, err
	}
	return Isolate(binFolder + "=" + bin)
}

// skipAll lets every test skip.
func skipAll(m *testing.M, reason string) (int, error) {
	if err := os.Setenv(skipReason, reason); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// Need skips a test if no lab is possible.
func Need(t *testing.T) {
	t.Helper()
	if reason := os.Getenv(skipReason); reason != "" {
		t.Skip(reason)
	}
}

// CloseAfter closes the lab when the test has ended. If the test has failed, explain is called before.
func (l *Lab) CloseAfter(t testing.TB, explain func()) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			explain()
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Program returns the path of one of our programs, which Main has built.
func Program(role string) string { return filepath.Join(os.Getenv(binFolder), "teredo-"+role) }
