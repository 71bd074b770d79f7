package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/teredo-suite/teredo/internal/control"
)

// UserControl is the default control socket of a program that an ordinary user runs, in a role such as proxy. It is in the folder for
// such files that the session manager has made for the user, or else in one of the user's own among the temporary files.
func UserControl(program, role string) string {
	if runtime.GOOS == "windows" { // where all of them are the user's
		return ControlPath(program, role)
	}
	folder := filepath.Join(os.TempDir(), fmt.Sprintf("%s-%d", program, os.Geteuid()))
	if session := os.Getenv("XDG_RUNTIME_DIR"); session != "" {
		folder = filepath.Join(session, program)
	}
	return filepath.Join(folder, role+".sock")
}

// UserState is the folder in which a program of an ordinary user leaves something for its next run; empty: the user has none.
func UserState(program string) string {
	state := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); state == "" && err == nil {
		state = filepath.Join(home, ".local", "state")
	}
	if state == "" {
		return ""
	}
	folder := filepath.Join(state, program)
	if os.MkdirAll(folder, 0o700) != nil {
		return ""
	}
	return folder
}

// ForUser readies the flags of a program that an ordinary user runs: it makes the folder of the default control socket, which must be
// the user's own, and has the program's state in the user's folder for that.
func (p *Process) ForUser(f *RunFlags) error {
	if f.Control != p.userControl {
		return nil
	}
	folder := filepath.Dir(f.Control)
	if err := os.MkdirAll(folder, 0o700); err == nil && !isOwn(folder) {
		return Usage(fmt.Errorf("the folder %s is another user's, who could put another control socket in it: choose one with --control", folder))
	}
	f.state = UserState(p.name())
	return nil
}

// isOwn reports whether a folder belongs to this user, and only this user can change what is in it.
func isOwn(folder string) bool {
	info, err := os.Lstat(folder)
	return err == nil && info.IsDir() && ownedByUs(info)
}

// controlToAsk is the control socket of the program to ask: that of the user if it answers, else that of the system.
func (p Program) controlToAsk() string {
	if p.UserControl != "" && isOwn(filepath.Dir(p.UserControl)) && control.Answers(p.UserControl) {
		return p.UserControl
	}
	return p.Control
}
