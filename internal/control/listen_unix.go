//go:build unix

package control

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	socketType  = fs.ModeSocket
	maxPath     = 107 // bytes that a Unix socket address can hold, less the final zero
	dialTimeout = 2 * time.Second
	lockTimeout = time.Second
)

// Listen makes the control socket at path, and the folder it lies in.
// A socket that a killed program left behind is replaced. While a living one answers there, the error is
// ErrRunning. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, wrongSocket("control socket path %s has %d bytes and can have %d at most", path, len(path), maxPath)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, explain("create the folder of the control socket, "+folder, err)
	}
	defer lockFolder(folder)()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := listenForAll(path)
	if err != nil {
		return nil, explain("create the control socket "+path, err)
	}
	return l, nil
}

// umask keeps those apart who change the process's mask for a moment.
var umask sync.Mutex

// listenForAll makes a socket that every user may connect to, where the system tells who connects: to read the state needs no
// privilege (SEC-CFG-01), and what tells of others, or sends packets, is for a Circle. It has its mode from the beginning, as
// somebody who may write to the folder could put another file in its place before the mode is changed.
func listenForAll(path string) (net.Listener, error) {
	umask.Lock()
	defer umask.Unlock()
	defer syscall.Umask(syscall.Umask(shut))
	return net.Listen("unix", path)
}

// removeStale removes the socket at path unless somebody listens on it.
func removeStale(path string) error {
	conn, err := net.DialTimeout("unix", path, dialTimeout)
	if err == nil {
		conn.Close()
	}
	switch {
	case errors.Is(err, syscall.ENOENT):
		return nil
	case err == nil, errors.Is(err, syscall.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
		return wrongSocket("%w (control socket %s): stop it first", ErrRunning, path)
	case !errors.Is(err, syscall.ECONNREFUSED):
		return explain("use the control socket "+path, err)
	}
	// A refusal comes from a socket without a listener, and also from a file that is no socket.
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explain("use the control socket "+path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return wrongSocket("%s exists and is not a socket", path)
	}
	if err := os.Remove(path); err != nil {
		return explain("replace the control socket "+path+", which a stopped program left behind", err)
	}
	return nil
}

// lockFolder keeps two programs that start at once from taking each other's fresh socket for a stale one.
// Any user may hold this lock, so it is waited for only a moment, and then done without.
func lockFolder(folder string) (unlock func()) {
	dir, err := os.Open(folder)
	if err != nil {
		return func() {}
	}
	deadline := time.Now().Add(lockTimeout)
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EWOULDBLOCK || time.Now().After(deadline) {
			return func() { dir.Close() }
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// dial connects to the socket at path.
func dial(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// authorize has nothing to add: the system tells who connects.
func authorize(string, *http.Request) error { return nil }

// guard lets every request in.
func guard(_ net.Listener, h http.Handler) http.Handler { return h }

// Errors of connections.
const (
	errRefused = syscall.ECONNREFUSED
	errReset   = syscall.ECONNRESET
)
