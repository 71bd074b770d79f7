package main

import (
	"context"
	"encoding/json"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/control"
)

// bugreport is the bugreport command. A server has peers if there is a relay in it.
type bugreport struct{ cli.PeersBugreport }

// Run writes the report.
func (b *bugreport) Run(ctx context.Context, k *kong.Kong) error {
	var now struct{ Relay json.RawMessage }
	if control.Get(ctx, b.Control, "status", &now) != nil || now.Relay == nil {
		return b.Bugreport.Run(ctx, k)
	}
	return b.PeersBugreport.Run(ctx, k)
}
