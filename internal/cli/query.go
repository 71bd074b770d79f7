package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// Query has the flags of the commands that ask a running program.
type Query struct {
	JSON    bool   `help:"Print JSON instead of text."`
	Control string `placeholder:"PATH" help:"Control socket of the running program (${control})."`

	running func() string // the control socket to ask if Control names none
}

// AfterApply has the query find the control socket each time that it asks, as the program may be started later.
func (q *Query) AfterApply(p *Process) error {
	q.running = p.controlToAsk
	return nil
}

// socket is the control socket to ask now.
func (q Query) socket() string {
	if q.Control != "" {
		return q.Control
	}
	return q.running()
}

// errOffline ends the status command with an exit code of its own. The status that was printed says why.
var errOffline = errors.New("off-line")

// Status is the status command of a program that tells its state as a T, see Print.
type Status[T any] struct {
	Query
	Wait  Wait `xor:"how-long" placeholder:"[DURATION]" help:"Wait until IPv6 can be used (server and relay: until the program is set up), also for a program that has not been started yet. Exit with 1 if that is not so after the duration, such as 30s. Without a duration there is no limit."`
	Watch bool `xor:"how-long" help:"Show the status every second, with rates. With --json each status is one line."`
}

// Help is the detailed help.
func (Status[T]) Help() string {
	return `No privilege is needed. Exit code 0 means that the program runs. 3 means that it is a client in state offline: it could
not qualify, and the host has no native IPv6 either.

Examples:

    ${name} status
    ${name} status --json
    ${name} status --wait=30s
    ${name} status --watch`
}

// Run prints the state.
func (s *Status[T]) Run(ctx context.Context, k *kong.Kong) error {
	ask := s.asks("status")
	if s.Watch {
		return s.watch(ctx, k.Stdout, ask, picture[T])
	}
	if s.Wait.asked {
		progress := NewProgress(k.Stderr)
		answer, err := s.Wait.until(ctx, s.socket(), ask, progress.WaitsFor)
		progress.End()
		if err != nil {
			return err
		}
		return s.print(k.Stdout, answer, picture[T])
	}
	answer, err := ask(ctx)
	if err != nil {
		return err
	}
	var now condition
	if err := readAnswer("status", answer, &now); err != nil {
		return err
	}
	if err := s.print(k.Stdout, answer, picture[T]); err != nil {
		return err
	}
	if now.offline() {
		return errOffline
	}
	return nil
}

// asking asks a running program.
type asking func(context.Context) (json.RawMessage, error)

func (q Query) asks(what string) asking {
	return func(ctx context.Context) (answer json.RawMessage, err error) {
		err = control.Get(ctx, q.socket(), what, &answer)
		return answer, err
	}
}

// drawing makes the text of an answer.
type drawing func(printer, reading) (string, error)

// print prints one answer. With --json it is printed as it came: a program of another version may say more than this one knows.
func (q Query) print(w io.Writer, answer json.RawMessage, draw drawing) error {
	if q.JSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, answer, "", "  "); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		indented.WriteByte('\n')
		_, err := indented.WriteTo(w)
		return err
	}
	text, err := draw(newPrinter(w), reading{answer: answer})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	return err
}

// watch prints answers until ctx ends.
func (q Query) watch(ctx context.Context, w io.Writer, ask asking, draw drawing) error {
	onto := newScreen(w)
	return watch(ctx, ask, func(s reading) error {
		switch {
		case q.JSON && s.answer == nil:
			return nil
		case q.JSON:
			var line bytes.Buffer
			if err := json.Compact(&line, s.answer); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			line.WriteByte('\n')
			_, err := line.WriteTo(w)
			return err
		case s.answer == nil:
			return onto.draw(s.absent.Error() + "\n")
		}
		text, err := draw(newPrinter(w), s)
		if err != nil {
			return err
		}
		return onto.draw(text)
	})
}

// picture is the text of an answer that is a T. What is counted has a rate if there was an answer before.
func picture[T any](p printer, s reading) (string, error) {
	var v, before T
	if err := readAnswer("answer", s.answer, &v); err != nil {
		return "", err
	}
	if s.before != nil && readAnswer("answer", s.before, &before) == nil {
		p.before, p.passed = reflect.ValueOf(before), s.passed
	}
	var out strings.Builder
	err := p.print(&out, v)
	return out.String(), err
}

func readAnswer(what string, answer json.RawMessage, into any) error {
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the %s (is the running program of another version than this command?): %w", what, err)
	}
	return nil
}
