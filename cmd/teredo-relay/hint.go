package main

import (
	"errors"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/tun"
)

// hint says what to do about an error with the relay's flags.
func hint(err error) string {
	if errors.Is(err, tun.ErrNoDevices) {
		return "run the relay on Linux; a server ('teredo-server run' without --relay) works here, too"
	}
	return cli.Hint(err, "--bind", "--port")
}
