package main

import "github.com/teredo-suite/teredo/internal/cli"

// hint says what to do about an error with the relay's flags.
func hint(err error) string { return cli.Hint(err, "--bind", "--port") }
