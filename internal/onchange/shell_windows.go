package onchange

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// ownGroup keeps the Ctrl-C of the console from a process.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// shell is a command of cmd.exe, which is killed at the end of ctx. What it has started goes on, but is not waited for.
func shell(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	cmd.SysProcAttr = ownGroup()
	cmd.SysProcAttr.CmdLine = `cmd.exe /d /s /c "` + command + `"` // cmd.exe has quoting rules of its own
	cmd.WaitDelay = time.Second
	return cmd
}
