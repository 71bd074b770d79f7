//go:build small

package cli

import (
	"context"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/succession"
)

// WebFlags are none: a small program serves nothing over HTTP but its control socket.
type WebFlags struct{}

type noSite struct{}

func (*noSite) Close() error { return nil }

func (*WebFlags) listenWeb(*succession.Inheritance, *slog.Logger) (*noSite, error) { return nil, nil }

func (*WebFlags) giveWeb(*succession.Giver, *noSite) {}

func serveWeb(context.Context, *noSite, ...any) error { return nil }

func (*Checkup) web(*RunFlags) {}
