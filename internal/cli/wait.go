package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// askAgain is the time between two questions of a command that waits.
const askAgain = 250 * time.Millisecond

// Wait is the flag --wait, which may have a duration as its value.
type Wait struct {
	asked bool
	limit time.Duration // negative: none
}

// Decode takes --wait and --wait=DURATION. A word that follows the flag is not its value.
func (w *Wait) Decode(ctx *kong.DecodeContext) error {
	*w = Wait{asked: true, limit: -1}
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		return nil
	}
	value := fmt.Sprint(ctx.Scan.Pop().Value)
	var err error
	if w.limit, err = time.ParseDuration(value); err != nil || w.limit < 0 {
		return fmt.Errorf("%q is not a duration such as 30s or 5m", value)
	}
	return nil
}

// condition is what the status of every program says of how it is.
type condition struct {
	State      string `json:"state"`
	WaitingFor string `json:"waiting_for"`
	LastError  string `json:"last_error"`
	NativeIPv6 string `json:"native_ipv6"` // the interface through which the host of a client has IPv6 without Teredo
}

// works reports whether IPv6 can be used, of a server or relay whether it is set up.
func (c condition) works() bool {
	switch c.State {
	case "qualified":
		return c.LastError == "" // otherwise packets to new peers wait
	case "running":
		return true
	}
	return c.NativeIPv6 != ""
}

// offline reports whether a client has failed to qualify, so that there is no IPv6.
func (c condition) offline() bool { return c.State == "offline" && c.NativeIPv6 == "" }

// waitsFor says what keeps the program from working.
func (c condition) waitsFor() string {
	switch {
	case c.WaitingFor != "" && c.LastError != "":
		return c.WaitingFor + " (" + c.LastError + ")"
	case c.WaitingFor != "":
		return c.WaitingFor
	case c.LastError != "":
		return "its last error to go away: " + c.LastError
	}
	return "state " + c.State + " to end"
}

// until asks for the status until it says that the program works, and returns that status. After each question it tells what it
// waits for.
func (w Wait) until(ctx context.Context, socket string, ask func(context.Context) (json.RawMessage, error), tell func(what string)) (json.RawMessage, error) {
	var expired <-chan time.Time // nil: never
	if w.limit >= 0 {
		timer := time.NewTimer(w.limit)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		var now condition
		waitsFor := "the program to start (control socket " + socket + ")"
		answer, err := ask(ctx)
		if err == nil {
			if err = readAnswer("status", answer, &now); err == nil && now.works() {
				return answer, nil
			}
			waitsFor = now.waitsFor()
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, control.ErrNotRunning) {
			return nil, err
		}
		tell(waitsFor)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("interrupted while waiting for %s", waitsFor)
		case <-expired:
			return nil, fmt.Errorf("after %v it still waits for %s", w.limit, waitsFor)
		case <-time.After(askAgain):
		}
	}
}
