package main

import (
	"os"
	"path/filepath"
	"strings"
)

// portMapFile is where a run finds the port mappings that a killed one has left at gateways. The service manager's folder
// for state outlasts a restart of the host, as the gateway's memory does. Without one the file lies beside the control socket.
func (r *run) portMapFile() string {
	folder := filepath.Dir(r.Control)
	if state := os.Getenv("STATE_DIRECTORY"); state != "" {
		folder = state
	}
	name := filepath.Base(r.Control)
	return filepath.Join(folder, strings.TrimSuffix(name, filepath.Ext(name))+".portmap")
}
