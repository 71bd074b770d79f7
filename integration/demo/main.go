//go:build linux

// Command demo shows the suite at work on one machine: a small internet of network namespaces, in which a client behind
// a NAT gets IPv6 from our server and reaches a native IPv6 host through our relay.
//
// It needs no root where users may make namespaces, and leaves nothing behind.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/teredo-suite/teredo/integration/lab"
)

// binFolder is the environment variable that tells the isolated demo where the programs are.
const binFolder = "TEREDO_DEMO_BIN"

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		code = 1
	}
	os.Exit(code)
}

func run() (int, error) {
	if lab.Isolated() {
		if err := lab.Enter(); err != nil {
			return 0, err
		}
		return 0, tell(os.Stdout, os.Getenv(binFolder))
	}
	bin, remove, err := programs()
	if err != nil {
		return 0, err
	}
	defer remove()
	return lab.Isolate(binFolder + "=" + bin)
}

// programs returns the folder of the three programs: the demo's own when they are beside it, else a temporary one
// that they are built into.
func programs() (folder string, remove func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	beside := filepath.Dir(self)
	if _, err := os.Stat(filepath.Join(beside, "teredo-client")); err == nil {
		return beside, func() {}, nil
	}
	folder, err = os.MkdirTemp("", "teredo-demo")
	if err != nil {
		return "", nil, err
	}
	// What cannot be removed is in the folder for temporary files.
	remove = func() { _ = os.RemoveAll(folder) }
	if err := lab.BuildPrograms(folder); err != nil {
		remove()
		return "", nil, err
	}
	return folder, remove, nil
}
