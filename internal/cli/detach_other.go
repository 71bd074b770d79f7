//go:build !unix

package cli

import "os/exec"

// detach does nothing: the children of a command outlive it here.
func detach(*exec.Cmd) {}
