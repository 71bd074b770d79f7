package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// UpFlags are the flags that the up command has besides those of the run command. Embed them.
type UpFlags struct {
	Wait Wait `placeholder:"DURATION" help:"Wait no longer than this, such as 30s, until IPv6 can be used. Without a duration there is no limit."`

	config string `kong:"-"` // the file that is used as no flag is given; empty: none
}

// UseDefault reads the configuration file if there is one and no flag is given that says otherwise. Call it from BeforeResolve.
func (u *UpFlags) UseDefault(command *kong.Context, file string) error {
	for _, at := range command.Path {
		if at.Flag != nil && at.Flag.Name != "wait" {
			return nil
		}
	}
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	u.config = file
	return useConfig(command, file)
}

// Up starts the run command in the background, unless it runs already, and waits until IPv6 can be used.
func (u *UpFlags) Up(ctx context.Context, k *kong.Kong, p *Process, flags *RunFlags) error {
	if !u.Wait.asked {
		u.Wait = Wait{asked: true, limit: -1}
	}
	query := Query{Control: flags.Control}
	ask := query.asks("status")
	progress := NewProgress(k.Stderr)
	defer progress.End()
	switch _, err := ask(ctx); {
	case err == nil:
		answer, err := u.Wait.until(ctx, flags.Control, ask, progress.WaitsFor)
		if err != nil {
			return fmt.Errorf("%s runs already, and IPv6 is not up: %w", k.Model.Name, err)
		}
		progress.End()
		return u.tell(ctx, k, flags, answer, k.Model.Name+" runs already. ")
	case !errors.Is(err, control.ErrNotRunning):
		return err
	}
	child, err := u.start(p, flags)
	if err != nil {
		return err
	}
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		_ = child.command.Wait() // the log says why
		close(ended)
		stop()
	}()
	answer, err := u.Wait.until(waiting, flags.Control, ask, progress.WaitsFor)
	progress.End()
	select {
	case <-ended:
		if _, err := ask(ctx); err == nil { // another one was quicker
			return u.Up(ctx, k, p, flags)
		}
		return child.failure(k)
	default:
	}
	if err != nil {
		return fmt.Errorf("%w; %s goes on in the background, with its log in %s, until '%[2]s down'", err, k.Model.Name, child.log)
	}
	return u.tell(ctx, k, flags, answer, "")
}

// background is a run command in the background.
type background struct {
	command *exec.Cmd
	log     string // file that it writes its log and its last words to
	began   int64  // size of that file before
}

// start starts the run command with the flags of this one.
func (u *UpFlags) start(p *Process, flags *RunFlags) (*background, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	b := &background{log: flags.LogFile}
	args := []string{"run"}
	for _, arg := range p.args[1:] { // behind the name of this command
		if arg != "--wait" && !strings.HasPrefix(arg, "--wait=") {
			args = append(args, arg)
		}
	}
	if u.config != "" {
		args = append(args, "--config", u.config)
	}
	if b.log == "" {
		b.log = flags.StateFile("log")
		args = append(args, "--log-file", b.log)
	}
	if err := os.MkdirAll(filepath.Dir(b.log), 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of the log: %w; run as root, or choose another file with --log-file", err)
	}
	file, err := os.OpenFile(b.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w; run as root, or choose another file with --log-file", err)
	}
	defer file.Close()
	if b.began, err = file.Seek(0, io.SeekEnd); err != nil {
		return nil, fmt.Errorf("find the end of the log: %w", err)
	}
	b.command = exec.Command(program, args...)
	b.command.Stderr = file
	detach(b.command)
	if err := b.command.Start(); err != nil {
		return nil, fmt.Errorf("start the run command: %w", err)
	}
	return b, nil
}

// failure shows the last lines of the log of a run that has ended. The error is what it said at last.
func (b *background) failure(k *kong.Kong) error {
	const most = 10 // lines
	text, err := os.ReadFile(b.log)
	if err != nil {
		return fmt.Errorf("%s has stopped, and its log cannot be read: %w", k.Model.Name, err)
	}
	if int64(len(text)) >= b.began { // else the log has been emptied meanwhile
		text = text[b.began:]
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	reason := "it has left no reason"
	for n, line := range lines {
		if said, is := strings.CutPrefix(line, k.Model.Name+": "); is {
			reason = said
			lines = lines[:n]
			break
		}
	}
	for _, line := range lines[max(0, len(lines)-most):] {
		fmt.Fprintln(k.Stderr, line)
	}
	return fmt.Errorf("%s has stopped: %s (log: %s)", k.Model.Name, reason, b.log)
}

// tell says that IPv6 is up.
func (u *UpFlags) tell(ctx context.Context, k *kong.Kong, flags *RunFlags, answer json.RawMessage, text string) error {
	var status struct {
		Address       netip.Addr `json:"address"`
		NativeAddress netip.Addr `json:"native_address"`
		NativeIPv6    string     `json:"native_ipv6"`
	}
	if err := readAnswer("status", answer, &status); err != nil {
		return err
	}
	switch {
	case !status.Address.IsValid():
		text += "The host has native IPv6 through " + status.NativeIPv6 + ", so Teredo is idle."
	case status.NativeAddress.IsValid():
		text += fmt.Sprintf("IPv6 is up: %v, native address %v.", status.Address, status.NativeAddress)
	default:
		text += fmt.Sprintf("IPv6 is up: %v.", status.Address)
	}
	var program runningProgram
	if control.Get(ctx, flags.Control, "report", &program) == nil && program.Unit != "" {
		text += fmt.Sprintf(" It runs as a unit: see 'systemctl status %s'.", program.Unit)
	}
	_, err := fmt.Fprintln(k.Stdout, text)
	return err
}
