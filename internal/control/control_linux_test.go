package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type questions = map[string]Question

// serve answers on a socket of its own until the test ends, or until the returned function is called.
func serve(t *testing.T, q questions) (path string, stop func() error) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "new", "folder", "x.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, q) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { stop() })
	return path, stop
}

// stale leaves a socket at path that nobody listens on, as a killed program does.
func stale(t *testing.T, path string) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal(err)
	}
}

func TestRoundTrip(t *testing.T) {
	type state struct {
		State string `json:"state"`
		Peers int    `json:"peers"`
	}
	want := state{State: "qualified", Peers: 3}
	path, stop := serve(t, questions{
		"status": {Answer: func(context.Context) (any, error) { return want, nil }},
		"broken": {Answer: func(context.Context) (any, error) { return nil, errors.New("no table yet") }},
	})
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("socket: %v, %v; any user must be able to read the state (SEC-CFG-01)", info.Mode(), err)
	}
	var got state
	if err := Get(t.Context(), path, "status", &got); err != nil || got != want {
		t.Errorf("Get(status) = %+v, %v; want %+v", got, err, want)
	}
	for what, message := range map[string]string{"broken": "no table yet", "peers": "has no peers to show"} {
		if err := Get(t.Context(), path, what, &got); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("Get(%s): %v; want %q in it", what, err, message)
		}
	}
	if err := stop(); err != nil {
		t.Errorf("Serve: %v; want nil when told to stop", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("socket after the end: %v; want it removed", err)
	}
}

func TestReadOnly(t *testing.T) {
	path, _ := serve(t, questions{"status": {Answer: func(context.Context) (any, error) { return 1, nil }}})
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) },
		DisableKeepAlives: true,
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		req, err := http.NewRequest(method, "http://control/status", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%s: %s; want 405", method, resp.Status)
		}
	}
}

func TestSecondInstance(t *testing.T) {
	path, _ := serve(t, questions{"status": {Answer: func(context.Context) (any, error) { return 1, nil }}})
	_, err := Listen(path)
	want := "already running (control socket " + path + "): stop it first"
	if !errors.Is(err, ErrRunning) || err.Error() != want {
		t.Errorf("second Listen: %v; want %s", err, want)
	}
	var got int
	if err := Get(t.Context(), path, "status", &got); err != nil || got != 1 {
		t.Errorf("the first instance after that: %v, %v; want it unharmed", got, err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	stale(t, path)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestOneOfManyStartsWins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	stale(t, path)
	const starts = 16
	type result struct {
		l   net.Listener
		err error
	}
	results := make(chan result, starts)
	for range starts {
		go func() {
			l, err := Listen(path)
			results <- result{l, err}
		}()
	}
	won := 0
	for range starts {
		switch r := <-results; {
		case r.err == nil:
			won++
			defer r.l.Close()
		case !errors.Is(r.err, ErrRunning):
			t.Error(r.err)
		}
	}
	if won != 1 {
		t.Errorf("%d programs listen on one socket; want 1", won)
	}
}

func TestLockedFolderDelaysButDoesNotStop(t *testing.T) {
	folder := t.TempDir()
	dir, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(filepath.Join(folder, "x.sock"))
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestListenRefuses(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ path, message string }{
		"a file that is no socket": {file, "is not a socket"},
		"a path below a file":      {filepath.Join(file, "x.sock"), "cannot create the folder of the control socket, " + file + ": not a directory"},
		"a path that is too long":  {filepath.Join(folder, strings.Repeat("x", 107)), " and can have 107 at most"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := Listen(test.path); err == nil || !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %v; want %q in it", err, test.message)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v; want it untouched", text, err)
	}
}

// asNobody calls f with the file permissions of an unprivileged user, on a thread that ends with it.
func asNobody(f func()) {
	onOwnThread(func() {
		unix.Setfsuid(65534)
		f()
	})
}

// onOwnThread calls f on a thread that ends with it.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func TestNoPermission(t *testing.T) {
	folder := t.TempDir()
	for dir, mode := range map[string]fs.FileMode{folder: 0o555, filepath.Dir(folder): 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct{ path, message string }{
		"to create the folder": {filepath.Join(folder, "teredo", "x.sock"), "no permission to create the folder of the control socket, " + folder + "/teredo: run as root"},
		"to create the socket": {filepath.Join(folder, "x.sock"), "no permission to create the control socket " + folder + "/x.sock: run as root"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var err error
			asNobody(func() { _, err = Listen(test.path) })
			if err == nil || err.Error() != test.message {
				t.Errorf("error %v; want %q", err, test.message)
			}
		})
	}
}

func TestGetWithoutServer(t *testing.T) {
	folder := t.TempDir()
	left := filepath.Join(folder, "left.sock")
	stale(t, left)
	for _, path := range []string{left, filepath.Join(folder, "none.sock"), filepath.Join(folder, "no", "folder.sock")} {
		err := Get(t.Context(), path, "status", new(int))
		want := "not running: nothing answers on control socket " + path + ": start it first"
		if !errors.Is(err, ErrNotRunning) || err.Error() != want {
			t.Errorf("error %v; want %s", err, want)
		}
	}
}

// A program that stops while it is asked does not run any more, which is no failure for those who wait for it.
func TestGetFromStopping(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	for range 100 { // it is cut off before, in or after the question
		if err := Get(t.Context(), path, "status", new(int)); !errors.Is(err, ErrNotRunning) {
			t.Fatal(err)
		}
	}
}
