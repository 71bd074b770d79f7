package cli

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// takeStderr makes a descriptor standard error, and returns what was standard error before.
func takeStderr(fd int) (before *os.File, err error) {
	old, err := unix.FcntlInt(uintptr(unix.Stderr), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	err = errors.Join(unix.Dup3(fd, unix.Stderr, 0), unix.Close(fd))
	return os.NewFile(uintptr(old), "standard error"), err
}
