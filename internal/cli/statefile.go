package cli

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
)

// StateFile is the path of a file in which a run leaves something for the next one. The service manager's folder for state
// outlasts a restart of the host, and so does the user's own. Without one the file lies beside the control socket.
func (f *RunFlags) StateFile(kind string) string {
	folder := cmp.Or(f.state, filepath.Dir(f.Control))
	if state := os.Getenv("STATE_DIRECTORY"); state != "" {
		folder = state
	}
	name := filepath.Base(f.Control)
	return filepath.Join(folder, strings.TrimSuffix(name, filepath.Ext(name))+"."+kind)
}
