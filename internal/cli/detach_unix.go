//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach has a command outlive this one, and its terminal.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
