package cli

import (
	"cmp"
	"os"
	"path/filepath"
	"runtime"
)

// ControlPath is the default path of the control socket of a program, such as teredo-client, in a role, such as client. Windows has no
// folder for such files that every user can reach and only some can write to, so there it lies in one of the user's.
func ControlPath(program, role string) string {
	folder := "/var/run"
	switch runtime.GOOS {
	case "linux":
		folder = "/run"
	case "windows":
		folder = cmp.Or(os.Getenv("LOCALAPPDATA"), os.Getenv("ProgramData"), os.TempDir())
	}
	return filepath.Join(folder, program, role+".sock")
}
