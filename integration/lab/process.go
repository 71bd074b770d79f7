//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a program that runs on a host of the lab. What it prints goes to a log that lasts as long as the lab.
type Process struct {
	Name string // host and program, such as "relay/teredo-relay"

	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when it has ended
}

// Start starts a program on the host.
func (h *Host) Start(argv ...string) (*Process, error) {
	p := &Process{
		Name: h.Name + "/" + filepath.Base(argv[0]),
		cmd:  exec.Command(argv[0], argv[1:]...),
		done: make(chan struct{}),
	}
	log, err := os.CreateTemp(h.lab.folder, h.Name+"-*.log")
	if err != nil {
		return nil, fmt.Errorf("make a log for %s: %w", p.Name, err)
	}
	defer log.Close()
	p.log = log.Name()
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, so that Kill reaches the helpers it starts, and Ctrl-C does not.
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := h.Do(p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.Name, err)
	}
	go func() {
		defer close(p.done)
		// How it ended is in cmd.ProcessState.
		_ = p.cmd.Wait()
	}()
	h.lab.mu.Lock()
	defer h.lab.mu.Unlock()
	h.lab.processes = append(h.lab.processes, p)
	return p, nil
}

// Program is the name of the program's file.
func (p *Process) Program() string { return filepath.Base(p.cmd.Path) }

// Args is the command line that started the program.
func (p *Process) Args() []string { return p.cmd.Args }

// Pid is the program's process number, and that of the process group that it and its helpers are in.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the program, not to its helpers.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the program and its helpers with SIGKILL and waits for its end.
func (p *Process) Kill() {
	// An error means that they have ended already.
	_ = unix.Kill(-p.cmd.Process.Pid, unix.SIGKILL)
	<-p.done
}

// Until is like the function Until, but gives up when the program ends. The error holds the end of its log.
func (p *Process) Until(timeout time.Duration, what string, check func() error) error {
	err := until(p.done, timeout, what, check)
	if err != nil {
		err = fmt.Errorf("%w; the log of %s ends: %s", err, p.Name, p.Tail(5))
	}
	return err
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the program's end and returns its exit code, -1 when a signal ended it.
func (p *Process) Wait(timeout time.Duration) (int, error) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(timeout):
		return 0, fmt.Errorf("%s still runs after %v; its log ends: %s", p.Name, timeout, p.Tail(5))
	}
}

// Stop ends the program with SIGTERM, waits for it, and returns its exit code.
func (p *Process) Stop(timeout time.Duration) (int, error) {
	if err := p.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, fmt.Errorf("stop %s: %w", p.Name, err)
	}
	return p.Wait(timeout)
}

// Log returns what the program has printed.
func (p *Process) Log() string {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// Tail returns the last n lines of the log.
func (p *Process) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
