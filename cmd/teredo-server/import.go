package main

import (
	"net/netip"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/miredo"
)

type importCommand struct{ cli.Import }

// Help is the detailed help of the import command.
func (importCommand) Help() string {
	return cli.ImportHelp("the miredo-server.conf of a Miredo server", "miredo-server.conf", "server.toml")
}

// Run writes the configuration.
func (c *importCommand) Run(k *kong.Kong, p *cli.Process) error {
	return c.Translate(k, p, importServer)
}

// importServer translates the keys of a Miredo server.
func importServer(t *miredo.Translation) {
	i := cli.Imported{Translation: t}
	var first netip.Addr
	address := func(flag string, into *netip.Addr) func(string) error {
		return func(value string) (err error) {
			if *into, err = i.IPv4(value); err == nil {
				err = i.Public(*into)
			}
			if err == nil {
				i.Set(flag, value)
			}
			return err
		}
	}
	if !i.Key("ServerBindAddress", address("bind", &first)) {
		t.Fault("names no ServerBindAddress: 'teredo-client import' and 'teredo-relay import' take a miredo.conf")
	}
	var second netip.Addr
	if !i.Key("ServerBindAddress2", address("bind2", &second)) && first.IsValid() {
		i.Comment("ServerBindAddress2 is not given. Miredo opens the address after the first one then.")
		i.Set("bind2", first.Next().String())
	}
	i.Rest()
}
