package main

import (
	"context"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
)

// defaultConfig is the file that the up command uses when no flag is given.
const defaultConfig = "/etc/teredo/client.toml"

type up struct {
	run
	cli.UpFlags
}

// Help is the detailed help of the up command.
func (up) Help() string {
	return `For hosts without systemd: it starts '${name} run' in the background with the same flags, and waits until IPv6 can be
used. Without flags it uses ` + defaultConfig + `, if there is one. The log is the file beside the control socket that ends in
.log; --log-file names another. When the client stops meanwhile, it shows the reason and the last lines of the log.

Examples:

    ${name} up --server teredo.example.net
    ${name} up
    ${name} down`
}

// BeforeResolve is called by kong once the command line is parsed.
func (u *up) BeforeResolve(command *kong.Context) error { return u.UseDefault(command, defaultConfig) }

// Run brings IPv6 up.
func (u *up) Run(ctx context.Context, k *kong.Kong, p *cli.Process) error {
	return u.Up(ctx, k, p, &u.RunFlags)
}
