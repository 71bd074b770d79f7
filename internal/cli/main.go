// Package cli is what the programs of the suite share: a command line with help and a configuration file, exit codes, logs,
// signals, readiness for systemd, the commands status, peers and version, and the frame in which a program runs (Serve).
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/complete"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/descriptor"
)

// Exit codes of every program.
const (
	exitStopped = 0  // it did what was asked, or was told to stop
	exitFailure = 1  // it failed while running
	exitOffline = 3  // status: the client is off-line
	exitUsage   = 64 // wrong usage or configuration (EX_USAGE of sysexits.h); a crash of Go itself exits with 2
)

// Program is what the command line needs to know about a program.
type Program struct {
	Name        string // as typed: "teredo-server"
	Description string // one or two sentences for --help
	Control     string // default path of the control socket
	UserControl string // the same for a command that ordinary users run, see Process.ForUser; empty: there is none

	// Hint says what to do about an error with the program's flags; empty: nothing. It may be nil.
	Hint func(error) string

	heir       *heir // of the process; nil: it replaces no other one
	processors int   // see Process.Processors
}

// Main runs the command that the command line names and exits the process.
//
// commands points to a struct of kong commands. Their Run methods may take a context.Context, which ends at the
// first SIGINT or SIGTERM; a second signal kills the process. SIGHUP never ends it: a Run method may take a *Process for
// Serve, which heeds it. A command that has a method Check is checked with it, also when SIGHUP has its flags read again.
// A command's help text and detailed help may contain ${name} for the program's name.
func (p Program) Main(commands any) {
	hangups := make(chan os.Signal, 1) // one that waits stands for all: everything is read again
	signal.Notify(hangups, syscall.SIGHUP)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM)
	p.processors = makeRoom()
	ctx, end := context.WithCancelCause(context.Background())
	go func() {
		s := <-ends
		signal.Stop(ends) // gives the next signal its deadly effect back
		stopping()
		end(errors.New(signalName(s)))
	}()
	var err error
	if p.heir, err = succeed(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: find the program to replace: %v\n", p.Name, err)
		os.Exit(exitFailure)
	}
	stderr := io.Writer(os.Stderr)
	if p.heir != nil {
		stderr = p.heir
	}
	os.Exit(p.run(ctx, hangups, commands, os.Args[1:], os.Stdout, stderr))
}

// makeRoom raises GOMAXPROCS, unless the environment sets it. A busy worker waits for packets inside a system call, and the Go
// runtime counts it as running. Without places beyond the number of processors, other goroutines would wait meanwhile. It returns what
// GOMAXPROCS was.
func makeRoom() (processors int) {
	const waiting = 4 // workers of a program that wait so at once
	processors = runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(processors + waiting)
		descriptor.AddPlaces(waiting)
	}
	return processors
}

// run is Main without the process around it. It returns the exit code.
func (p Program) run(ctx context.Context, hangups <-chan os.Signal, commands any, args []string, stdout, stderr io.Writer) int {
	helped := false
	process := &Process{hangups: hangups, heir: p.heir, processors: p.processors, args: args, hint: p.hint, userControl: p.UserControl, controlToAsk: p.controlToAsk}
	process.understand = func(args []string) (*kong.Context, error) {
		fresh := reflect.New(reflect.TypeOf(commands).Elem()).Interface()
		return p.parse(fresh, args, kong.Writers(io.Discard, io.Discard))
	}
	process.parse = func() (*kong.Context, error) { return process.understand(args) }
	command, err := p.parse(commands, args,
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(process),
	)
	if err == nil && !helped {
		process.command = command
		err = command.Run()
	}
	if hint := p.hint(err); hint != "" {
		err = fmt.Errorf("%w; %s", err, hint)
	}
	if _, wrong := errors.AsType[*control.SocketError](err); wrong {
		err = fmt.Errorf("%w; --control PATH chooses another socket", err)
	}
	_, misused := errors.AsType[*usageError](err)
	switch {
	case helped, err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitStopped
	case errors.Is(err, ErrTold):
		return exitFailure
	case errors.Is(err, errOffline):
		return exitOffline
	case misused:
		where := p.Name
		if command != nil && command.Selected() != nil {
			where = command.Selected().FullPath()
		}
		fmt.Fprintf(stderr, "%s: %v\nSee %s --help.\n", p.Name, err, where)
		return exitUsage
	default:
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return exitFailure
	}
}

// hint says what to do about an error with the program's flags; empty: nothing.
func (p Program) hint(err error) string {
	if err == nil || p.Hint == nil {
		return ""
	}
	return p.Hint(err)
}

// parse reads the command line, and the configuration file that it may name, into commands, and checks the command. What it
// returns with an error may be nil, and tells as much as was understood.
func (p Program) parse(commands any, args []string, options ...kong.Option) (*kong.Context, error) {
	parser := kong.Must(commands, append(options,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Vars{"name": p.Name, "control": p.controlToAsk(), "system_control": p.Control, "user_control": p.UserControl, "shells": complete.Shells},
		kong.PostBuild(p.nameInDetails),
		kong.Embed(new(versionFlag)),
		kong.Embed(new(documents)),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)...)
	command, err := parser.Parse(args)
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok {
		command = wrong.Context
	}
	if err != nil {
		return command, Usage(err)
	}
	if c, ok := command.Selected().Target.Addr().Interface().(interface{ Check() error }); ok {
		err = c.Check()
	}
	return command, Usage(err)
}

// nameInDetails fills ${name} into the detailed help, which kong takes as it is.
func (p Program) nameInDetails(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		command.Detail = strings.ReplaceAll(command.Detail, "${name}", p.Name)
	}
	return nil
}

// ErrTold ends a command with exit code 1 that has said itself what is wrong.
var ErrTold = errors.New("told already")

// usageError is an error of the person who typed the command or wrote the configuration.
type usageError struct{ cause error }

func (e *usageError) Error() string { return e.cause.Error() }
func (e *usageError) Unwrap() error { return e.cause }

// Usage marks err as wrong usage or configuration: a Run method that returns it ends the program with exit code 64
// and a pointer to the help. Usage of nil is nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{err}
}
