package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// stopTimeout is longer than a program takes to stop.
const stopTimeout = 30 * time.Second

// Down is the down command.
type Down struct {
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the running program (${default})."`
}

// Help is the detailed help.
func (Down) Help() string {
	return `It stops the running program, as SIGTERM does, and waits until its interface is gone. It takes root, or the user that the
program runs as. When nothing runs, it says so, and the exit code is 0, too.

Examples:

    ${name} down`
}

// Run stops the program.
func (d *Down) Run(ctx context.Context, k *kong.Kong) error {
	name := k.Model.Name
	var program runningProgram
	err := control.Get(ctx, d.Control, "report", &program)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		_, err := fmt.Fprintf(k.Stdout, "%s was not running.\n", name)
		return err
	case err != nil:
		return err
	case program.Unit != "":
		return fmt.Errorf("%s runs as a unit, which would start it again: run 'systemctl stop %s'", name, program.Unit)
	case program.PID == 0:
		return fmt.Errorf("the running program is of another version than this command: stop it by its process ID")
	}
	process, err := os.FindProcess(program.PID)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop process %d: %w; run as root, or as the user that has started it", program.PID, err)
	}
	progress := NewProgress(k.Stderr)
	err = d.await(ctx, program, progress.WaitsFor)
	progress.End()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "%s has stopped.\n", name)
	return err
}

// await waits until nothing of the program is left.
func (d *Down) await(ctx context.Context, program runningProgram, tell func(what string)) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	for {
		what := ""
		var status struct{}
		if err := control.Get(ctx, d.Control, "status", &status); !errors.Is(err, control.ErrNotRunning) {
			what = fmt.Sprintf("process %d to end", program.PID)
		} else if ifname := program.Flags["tun"]; ifname != "" {
			if _, err := net.InterfaceByName(ifname); err == nil {
				what = "the interface " + ifname + " to go away"
			}
		}
		if what == "" {
			return nil
		}
		tell(what)
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s", what)
		case <-time.After(askAgain):
		}
	}
}
