package main

import (
	"os"
	"path/filepath"
	"strings"
)

// stateFile is where a run finds what an earlier one, which may have been killed, has left: its port mappings at gateways, its
// address. The service manager's folder for state outlasts a restart of the host. Without one the file lies beside the control
// socket.
func (r *run) stateFile(kind string) string {
	folder := filepath.Dir(r.Control)
	if state := os.Getenv("STATE_DIRECTORY"); state != "" {
		folder = state
	}
	name := filepath.Base(r.Control)
	return filepath.Join(folder, strings.TrimSuffix(name, filepath.Ext(name))+"."+kind)
}
