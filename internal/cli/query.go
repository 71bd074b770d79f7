package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/control"
)

// Query has the flags of the commands that ask a running program.
type Query struct {
	JSON    bool   `help:"Print JSON instead of text."`
	Control string `default:"${control}" placeholder:"PATH" help:"Control socket of the running program (${default})."`
}

// Status is the status command of a program that tells its state as a T, see Print.
type Status[T any] struct{ Query }

// Help is the detailed help.
func (Status[T]) Help() string {
	return `No privilege is needed. Exit code 0 means that the program runs.

Examples:

    ${name} status
    ${name} status --json
    watch ${name} status`
}

// Run prints the state.
func (s *Status[T]) Run(ctx context.Context, k *kong.Kong) error {
	return show[T](ctx, k, s.Query, "status")
}

// Peers is the peers command of a program that tells of each peer as a T, see Print.
type Peers[T any] struct{ Query }

// Help is the detailed help.
func (Peers[T]) Help() string {
	return `It takes root, the user that the program runs as, or the group that its --control-group names: peers are whom this
host talks to.

Examples:

    ${name} peers
    ${name} peers --json`
}

// Run prints the peers.
func (p *Peers[T]) Run(ctx context.Context, k *kong.Kong) error {
	return show[[]T](ctx, k, p.Query, "peers")
}

// show asks for what and prints the answer. With --json it is printed as it came: a program of another version may
// say more than T can hold.
func show[T any](ctx context.Context, k *kong.Kong, q Query, what string) error {
	var answer json.RawMessage
	if err := control.Get(ctx, q.Control, what, &answer); err != nil {
		return err
	}
	if q.JSON {
		var indented bytes.Buffer
		if err := json.Indent(&indented, answer, "", "  "); err != nil {
			return fmt.Errorf("read the %s: %w", what, err)
		}
		indented.WriteByte('\n')
		_, err := indented.WriteTo(k.Stdout)
		return err
	}
	var v T
	if err := json.Unmarshal(answer, &v); err != nil {
		return fmt.Errorf("read the %s (is the running program of another version than this command?): %w", what, err)
	}
	return Print(k.Stdout, v)
}
