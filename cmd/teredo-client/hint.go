package main

import (
	"errors"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/qualify"
)

// hint says what to do about an error with the client's flags.
func hint(err error) string {
	switch {
	case errors.Is(err, qualify.ErrNotGlobal):
		return "permit it with --permit-ipv4 if it is meant"
	case errors.Is(err, tun.ErrNoDevices):
		return "'teredo-client proxy' needs none, and gives programs IPv6 here, too"
	}
	return cli.Hint(err, "--bind", "--port")
}
