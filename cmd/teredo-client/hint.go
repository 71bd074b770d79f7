package main

import (
	"errors"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/qualify"
)

// hint says what to do about an error with the client's flags.
func hint(err error) string {
	if errors.Is(err, qualify.ErrNotGlobal) {
		return "permit it with --permit-ipv4 if it is meant"
	}
	return cli.Hint(err, "--bind", "--port")
}
