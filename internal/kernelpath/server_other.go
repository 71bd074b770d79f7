//go:build !linux

package kernelpath

import (
	"context"
	"errors"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/teredo"
)

// Server answers the clients of a Teredo server in the kernel.
type Server struct{}

// OpenServer fails: only Linux can do that.
func OpenServer(ServerConfig, *slog.Logger) (*Server, error) {
	return nil, errors.New("there is a kernel path on Linux only")
}

func (*Server) Sources() *budget.Keyed             { return nil }
func (*Server) SetSecrets(map[string]Secret) error { return nil }
func (*Server) SetFilter(teredo.Filter) error      { return nil }
func (*Server) Counts() (ServerCounts, error)      { return ServerCounts{}, nil }
func (*Server) Interfaces() map[string]string      { return nil }
func (*Server) Refresh() error                     { return nil }
func (*Server) Run(context.Context)                {}
func (*Server) Close() error                       { return nil }
