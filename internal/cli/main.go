// Package cli is what the programs of the suite share on the command line: parsing with help and a configuration
// file, exit codes, logs, signals, readiness for systemd, and the commands status, peers and version.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes of every program.
const (
	exitStopped = 0  // it did what was asked, or was told to stop
	exitFailure = 1  // it failed while running
	exitUsage   = 64 // wrong usage or configuration (EX_USAGE of sysexits.h); a crash of Go itself exits with 2
)

// Program is what the command line needs to know about a program.
type Program struct {
	Name        string // as typed: "teredo-server"
	Description string // one or two sentences for --help
	Control     string // default path of the control socket
}

// Main runs the command that the command line names and exits the process.
//
// commands points to a struct of kong commands. Their Run methods may take a context.Context, which ends at the
// first SIGINT or SIGTERM; a second signal kills the process. A command's help text and detailed help may contain
// ${name} for the program's name.
func (p Program) Main(commands any) {
	makeRoom()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	told := make(chan struct{})
	context.AfterFunc(ctx, func() {
		stop() // gives the next signal its deadly effect back
		stopping()
		close(told)
	})
	code := p.run(ctx, commands, os.Args[1:], os.Stdout, os.Stderr)
	if ctx.Err() != nil {
		<-told
	}
	os.Exit(code)
}

// makeRoom lets more goroutines run at once than there are processors, unless the user has said how many. Those that wait
// in the kernel for packets count as running for a while. Without room for others the runtime would keep looking for a
// place to take away, and a packet would wait until one is free.
func makeRoom() {
	const waiting = 4 // workers of a program that wait at once
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + waiting)
	}
}

// run is Main without the process around it. It returns the exit code.
func (p Program) run(ctx context.Context, commands any, args []string, stdout, stderr io.Writer) int {
	helped := false
	parser := kong.Must(commands,
		kong.Name(p.Name),
		kong.Description(p.Description),
		kong.Vars{"name": p.Name, "control": p.Control},
		kong.PostBuild(p.nameInDetails),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	command, err := parser.Parse(args)
	if helped {
		return exitStopped
	}
	if err != nil {
		return p.misused(stderr, err)
	}
	err = command.Run()
	usage, misconfigured := errors.AsType[*usageError](err)
	switch {
	case err == nil, ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitStopped
	case misconfigured:
		fmt.Fprintf(stderr, "%s: %v\nSee %s --help.\n", p.Name, usage, command.Selected().FullPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return exitFailure
	}
}

// misused says in one sentence what is wrong with the command line, and where the help is.
func (p Program) misused(stderr io.Writer, err error) int {
	where := p.Name
	if parse, ok := errors.AsType[*kong.ParseError](err); ok && parse.Context != nil && parse.Context.Selected() != nil {
		where = parse.Context.Selected().FullPath()
	}
	fmt.Fprintf(stderr, "%s: %v\nSee %s --help.\n", p.Name, err, where)
	return exitUsage
}

// nameInDetails fills ${name} into the detailed help, which kong takes as it is.
func (p Program) nameInDetails(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		command.Detail = strings.ReplaceAll(command.Detail, "${name}", p.Name)
	}
	return nil
}

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
