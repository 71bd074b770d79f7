package main

import (
	"errors"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/tun"
)

// hint says what to do about an error with the server's flags.
func hint(err error) string {
	if wrong, ok := errors.AsType[*server.ConfigError](err); ok {
		return map[string]string{
			"Primary":   "see --bind",
			"Secondary": "see --bind2",
			"Public":    "give the public one with --public, or allow its range with --permit-ipv4",
			"Public2":   "give the public one with --public2, or allow its range with --permit-ipv4",
		}[wrong.Field]
	}
	if errors.Is(err, tun.ErrNoDevices) {
		return "leave --relay and --announce out: they need Linux"
	}
	return cli.Hint(err, "--bind and --bind2", "")
}
