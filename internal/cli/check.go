package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/internal/udp"
)

// CheckFlags are the flags that a check command has besides those of the run command. Embed them.
type CheckFlags struct {
	JSON bool `help:"Print JSON instead of text."`
}

// CheckHelp is the detailed help of a command that checks another one, up to the example.
func CheckHelp(command string) string {
	return `The check takes the flags and the configuration file of the ` + command + ` command, and tries what a start needs: names, ports,
privileges, files. It changes nothing, and does not disturb a program that runs already. Check as the user that the
program is to run as.

Exit code 0 means that nothing was found that would fail; there may be warnings. 1 means that something would fail, and
64 that a flag or the configuration file is wrong.

Examples:

    `
}

// Checkup collects what a check finds.
type Checkup struct {
	Findings []Finding `json:"findings"`

	process *Process
	told    func(what string)
	running bool              // a program answers on the control socket
	its     map[string]string // its flags, nil if it does not tell them
}

// Finding is one thing that was looked at.
type Finding struct {
	Result  string `json:"result"` // ok, warning or error
	Subject string `json:"subject"`
	Finding string `json:"finding"` // a sentence
}

// Results of a check, from the best to the worst.
const (
	fine    = "ok"
	doubt   = "warning"
	failing = "error"
)

// Examine tries what every program needs, and then what this one does, and prints what it has found.
func (f *CheckFlags) Examine(ctx context.Context, k *kong.Kong, p *Process, flags *RunFlags, own func(context.Context, *Checkup)) error {
	progress := NewProgress(k.Stderr)
	c := &Checkup{process: p, told: progress.WaitsFor}
	c.common(ctx, flags)
	own(ctx, c)
	progress.End()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	if err := f.print(k, c); err != nil {
		return err
	}
	if n := c.count(failing); n > 0 {
		return fmt.Errorf("%d of %d findings are errors", n, len(c.Findings))
	}
	return nil
}

func (f *CheckFlags) print(k *kong.Kong, c *Checkup) error {
	if !f.JSON {
		return Print(k.Stdout, c.Findings)
	}
	result := fine
	for _, worse := range []string{doubt, failing} {
		if c.count(worse) > 0 {
			result = worse
		}
	}
	text, err := json.MarshalIndent(struct {
		Result string `json:"result"`
		*Checkup
	}{result, c}, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(k.Stdout, "%s\n", text)
	}
	return err
}

func (c *Checkup) count(result string) (n int) {
	for _, f := range c.Findings {
		if f.Result == result {
			n++
		}
	}
	return n
}

// OK notes that a subject is as it should be.
func (c *Checkup) OK(subject, format string, args ...any) { c.note(fine, subject, format, args...) }

// Warn notes what a program runs with, but not as well as it could.
func (c *Checkup) Warn(subject, format string, args ...any) {
	c.note(doubt, subject, format, args...)
}

// Fail notes why a start would fail.
func (c *Checkup) Fail(subject string, err error) {
	if hint := c.process.hint(err); hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	c.note(failing, subject, "%v", err)
}

// Must notes an error, or else that the subject is as it should be.
func (c *Checkup) Must(err error, subject, format string, args ...any) {
	if err != nil {
		c.Fail(subject, err)
		return
	}
	c.OK(subject, format, args...)
}

// WaitsFor says what takes its time now.
func (c *Checkup) WaitsFor(what string) { c.told(what) }

func (c *Checkup) note(result, subject, format string, args ...any) {
	text := strings.TrimSuffix(fmt.Sprintf(format, args...), ".") + "."
	text = strings.ToUpper(text[:1]) + text[1:]
	c.Findings = append(c.Findings, Finding{result, subject, text})
}

// Log returns a log whose warnings become findings about a subject.
func (c *Checkup) Log(subject string) *slog.Logger { return slog.New(&findingsHandler{c, subject}) }

type findingsHandler struct {
	checkup *Checkup
	subject string
}

func (h *findingsHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn
}
func (h *findingsHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *findingsHandler) WithGroup(string) slog.Handler      { return h }

func (h *findingsHandler) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	var values []string
	r.Attrs(func(a slog.Attr) bool {
		values = append(values, a.Key+" "+a.Value.String())
		return true
	})
	if len(values) > 0 {
		text += " (" + strings.Join(values, ", ") + ")"
	}
	h.checkup.Warn(h.subject, "%s", text)
	return nil
}

// Running reports whether a program runs already that has what the values of these flags name.
func (c *Checkup) Running(flags ...string) bool {
	ours := *c.process.flags.Load()
	return c.running && (c.its == nil || !slices.ContainsFunc(flags, func(name string) bool { return ours[name] != c.its[name] }))
}

// common tries what every program needs.
func (c *Checkup) common(ctx context.Context, flags *RunFlags) {
	c.process.noteFlags()
	if flags.Config != "" {
		c.OK("configuration", "The configuration file %s has no mistake", flags.Config)
	} else {
		c.OK("configuration", "The flags have no mistake")
	}
	c.controlSocket(ctx, flags)
	if folder := filepath.Dir(flags.StateFile("")); folder != filepath.Dir(flags.Control) {
		if err := control.TryFolder(folder); err != nil {
			c.Warn("state", "What a run leaves for the next one cannot be saved: %v", err)
		} else {
			c.OK("state", "The folder %s for what a run leaves for the next one can be written", folder)
		}
	}
	c.web(flags)
	c.profiles(flags)
}

// controlSocket finds out whether a program runs already.
func (c *Checkup) controlSocket(ctx context.Context, flags *RunFlags) {
	const subject = "control socket"
	c.told("the control socket")
	var status struct{}
	switch err := control.Get(ctx, flags.Control, "status", &status); {
	case err == nil:
		c.running = true
		var program runningProgram
		if control.Get(ctx, flags.Control, "report", &program) == nil {
			c.its = program.Flags
		}
		c.OK(subject, "A program runs already, and answers on %s. What it uses is not counted as taken", flags.Control)
	case !errors.Is(err, control.ErrNotRunning) && !errors.Is(err, fs.ErrNotExist):
		c.Fail(subject, err)
	default:
		c.Must(control.Try(flags.Control), subject, "The control socket can be made at %s", flags.Control)
	}
}

// UDPPort tries a local address and port. names are the flags that say which.
func (c *Checkup) UDPPort(local netip.AddrPort, options udp.Options, names ...string) {
	const subject = "UDP port"
	conn, err := udp.Listen(local, options)
	if err == nil {
		conn.Close()
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && c.Running(names...):
		c.OK(subject, "The running program has UDP port %d of %v", local.Port(), local.Addr())
	case local.Port() == 0:
		c.Must(err, subject, "A UDP port can be opened")
	default:
		c.Must(err, subject, "UDP port %d of %v is free", local.Port(), local.Addr())
	}
}

// Interface tries to make an interface, and the kernel path beside it. The attempt has another name, so that nobody takes it for
// the real one.
func (c *Checkup) Interface(f *DeviceFlags, kernel KernelFlags, name string) {
	const subject = "interface"
	c.told("the interface " + name)
	attempt := fmt.Sprintf("tdcheck%d", os.Getpid())
	_, err := net.InterfaceByName(name)
	exists := err == nil
	held := exists && c.Running("tun")
	if exists && !held {
		attempt = name // of somebody else, unless it can be attached to
	}
	device, err := tun.Open(attempt, f.TUNOffload)
	if err != nil {
		c.Fail(subject, ExplainDevice(name, err))
		return
	}
	defer device.Close()
	if held {
		c.OK(subject, "The running program has the interface %s", name)
	} else {
		c.OK(subject, "The interface %s can be made", name)
	}
	c.KernelPath(kernel, "The kernel can carry packets of confirmed flows", "The program would carry all packets instead of the kernel", func() (io.Closer, error) {
		return kernelpath.Open(attempt, netip.AddrPortFrom(netip.IPv4Unspecified(), 0), 1, nil, slog.New(slog.DiscardHandler))
	})
}

// KernelPath tries to open a kernel path. can and instead say what it means that this succeeds or fails.
func (c *Checkup) KernelPath(f KernelFlags, can, instead string, open func() (io.Closer, error)) {
	const subject = "kernel path"
	if f.KernelPath == offload.Off {
		return
	}
	path, err := open()
	switch {
	case err == nil:
		path.Close()
		c.OK(subject, "%s", can)
	case f.KernelPath == offload.On:
		c.Fail(subject, fmt.Errorf("%w; use --kernel-path=auto or off", err))
	default:
		c.Warn(subject, "%s: %v", instead, err)
	}
}
