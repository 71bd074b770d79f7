package control

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
)

// ErrRunning tells that another instance answers on the control socket.
var ErrRunning = errors.New("already running")

// explain says in one sentence what could not be done, and what a person can do about it.
func explain(what string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return wrongSocket("no permission to %s: run as root", what)
	}
	return fmt.Errorf("cannot %s: %w", what, cause(err))
}

// cause strips the operation and path that the os and net packages add to an error.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	return err
}
