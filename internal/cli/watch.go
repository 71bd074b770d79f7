package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/teredo-suite/teredo/internal/control"
)

// redrawAfter is the time between two pictures of --watch.
const redrawAfter = time.Second

// screen is where --watch draws: over the last picture on a terminal, otherwise below it.
type screen struct {
	w     io.Writer
	rows  func() (rows int, terminal bool)
	drawn bool // there is a picture
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, rows: func() (int, bool) { return terminalRows(w) }}
}

// draw draws a picture. What has no room below or at the right is left out.
func (s *screen) draw(picture string) error {
	const (
		clearAll   = "\x1b[2J"
		home       = "\x1b[H"
		clearRight = "\x1b[K"
		clearBelow = "\x1b[J"
		cutLines   = "\x1b[?7l"
		wrapLines  = "\x1b[?7h"
	)
	var out strings.Builder
	rows, terminal := s.rows()
	switch {
	case !terminal && s.drawn:
		out.WriteString("\n" + picture)
	case !terminal:
		out.WriteString(picture)
	default:
		if !s.drawn {
			out.WriteString(clearAll)
		}
		lines := strings.Split(strings.TrimSuffix(picture, "\n"), "\n")
		if room := max(rows-1, 2); len(lines) > room {
			left := len(lines) - room + 1
			lines = append(lines[:room-1], fmt.Sprintf("… and %d more lines", left))
		}
		out.WriteString(cutLines + home)
		for _, line := range lines {
			out.WriteString(line + clearRight + "\n")
		}
		out.WriteString(clearBelow + wrapLines)
	}
	s.drawn = true
	_, err := io.WriteString(s.w, out.String())
	return err
}

// reading is an answer of a running program, and the one before it.
type reading struct {
	answer json.RawMessage // nil while no program runs
	before json.RawMessage // nil: there is none
	passed time.Duration   // between the two
	absent error           // why there is no answer
}

// watch shows an answer every second until ctx ends. It goes on when the program is not running, as it may start again.
func watch(ctx context.Context, ask func(context.Context) (json.RawMessage, error), show func(reading) error) error {
	var now reading
	var at time.Time
	for {
		now.before = now.answer
		now.answer, now.absent = ask(ctx)
		asked := time.Now()
		now.passed, at = asked.Sub(at), asked
		switch {
		case ctx.Err() != nil:
			return nil
		case now.absent != nil && !errors.Is(now.absent, control.ErrNotRunning):
			return now.absent
		}
		if err := show(now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(redrawAfter):
		}
	}
}
