//go:build unix

package cli

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// terminalSize returns how many lines a terminal has; ok is false for other files.
func terminalSize(f *os.File) (n int, ok bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	return int(size.Row), true
}

// signalName is the name of a signal, such as SIGTERM.
func signalName(s os.Signal) string { return unix.SignalName(s.(syscall.Signal)) }
