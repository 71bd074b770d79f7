package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// DrainFlags say how a program that serves others leaves when it drains. Embed it.
type DrainFlags struct {
	DrainIdle time.Duration `default:"30s" placeholder:"DURATION" help:"After the command drain or SIGUSR1, stop when nobody has come for this time (${default}). A Teredo path that was not used for 30s is looked for anew, so nobody needs this program then."`
	DrainTime time.Duration `default:"5m" placeholder:"DURATION" help:"After the command drain or SIGUSR1, stop after this time in any case (${default})."`
}

// Check finds what is wrong with the flags.
func (f DrainFlags) Check() error {
	if f.DrainIdle < 0 || f.DrainTime < 0 {
		return errors.New("--drain-idle and --drain-time must not be negative: 0s stops at once")
	}
	return nil
}

// lookEvery is the time between two looks at the load of a service. Its overload is counted by the second.
const lookEvery = time.Second

// drains has the announcers of a program follow its load, and drain when that is asked for.
type drains struct {
	announcers []*Announcer
	log        *slog.Logger
	asked      chan os.Signal
	leave      context.CancelCauseFunc // ends the program
}

// newDrains returns the context of a program that ends when all has drained, too.
func newDrains(ctx context.Context, log *slog.Logger, announcers []*Announcer) (*drains, context.Context) {
	d := &drains{announcers: announcers, log: log, asked: make(chan os.Signal, 1)}
	ctx, d.leave = context.WithCancelCause(ctx)
	return d, ctx
}

// begin begins to drain. It returns when nothing is announced any more.
func (d *drains) begin(asked string) {
	d.log.Info("draining", "asked_by", asked)
	StatusLine("Draining")
	for _, a := range d.announcers {
		a.drain()
	}
}

// question is what the drain command asks for.
func (d *drains) question() (control.Question, error) {
	circle, err := control.NewCircle("")
	return control.Question{Circle: circle, Do: func(context.Context, string) (any, error) {
		d.begin("the command drain")
		return struct{}{}, nil
	}}, err
}

// run follows the load until ctx ends.
func (d *drains) run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-d.asked:
			d.begin(signalName(s))
		case <-ticker.C:
			if d.drained(ctx) {
				stopping()
				d.leave(errors.New("drained"))
				return nil
			}
		}
	}
}

// drained looks at all services, and reports whether all have drained.
func (d *drains) drained(ctx context.Context) bool {
	all := true
	for _, a := range d.announcers {
		all = a.look(ctx) && all
	}
	return all
}

// Drain is the drain command.
type Drain struct {
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the running program (${default})."`
	NoWait  bool   `help:"Do not wait until the program has stopped."`
}

// Help is the detailed help.
func (Drain) Help() string {
	return `It takes the running program out of service, as SIGUSR1 does: what it announces to other routers is withdrawn, and it goes on
to serve whoever still comes. It stops when nobody has come for its --drain-idle, or after its --drain-time. The command
waits for that; when it is interrupted, the drain goes on. It takes root, or the user that the program runs as. When nothing
runs, it says so, and the exit code is 0, too.

Examples:

    ${name} drain
    ${name} drain --no-wait`
}

// Run drains.
func (d *Drain) Run(ctx context.Context, k *kong.Kong) error {
	name := k.Model.Name
	var done struct{}
	err := control.Do(ctx, d.Control, "drain", "", &done)
	switch {
	case errors.Is(err, control.ErrNotRunning):
		_, err := fmt.Fprintf(k.Stdout, "%s was not running.\n", name)
		return err
	case err != nil:
		return err
	case d.NoWait:
		_, err := fmt.Fprintf(k.Stdout, "%s drains.\n", name)
		return err
	}
	progress := NewProgress(k.Stderr)
	err = awaitDrained(ctx, Query{Control: d.Control}.asks("status"), progress.WaitsFor)
	progress.End()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(k.Stdout, "%s has drained and stopped.\n", name)
	return err
}

// awaitDrained waits until the program that drains has stopped. Another one may have taken its place.
func awaitDrained(ctx context.Context, ask asking, tell func(what string)) error {
	for {
		var now struct {
			State string  `json:"state"`
			Left  float64 `json:"drain_left_seconds"`
			Idle  float64 `json:"drain_idle_seconds"`
		}
		answer, err := ask(ctx)
		switch {
		case errors.Is(err, control.ErrNotRunning):
			return nil
		case ctx.Err() != nil:
			return errors.New("interrupted; the program goes on to drain, and stops by itself")
		case err != nil:
			return err
		}
		if err := readAnswer("status", answer, &now); err != nil {
			return err
		}
		switch now.State {
		case "draining":
			tell(drainProgress(now.Idle, now.Left))
		case "stopping":
			tell("the program to stop")
		default:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(askAgain):
		}
	}
}

// drainProgress says how far a drain is, in steps of ten seconds: each is a line where there is no terminal.
func drainProgress(idle, left float64) string {
	const step = 10 // seconds
	round := func(seconds float64) time.Duration { return time.Duration(int(seconds)/step*step) * time.Second }
	text := "clients to leave"
	if idle >= step {
		text += fmt.Sprintf(" (none has come for %v)", round(idle))
	}
	return fmt.Sprintf("%s, %v at most", text, round(left)+step*time.Second)
}
