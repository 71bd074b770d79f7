package main

import (
	"errors"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/miredo"
)

type importCommand struct{ cli.Import }

// Help is the detailed help of the import command.
func (importCommand) Help() string {
	return cli.ImportHelp("the miredo.conf of a Miredo relay; teredo-client imports that of a client", "miredo.conf", "relay.toml")
}

// Run writes the configuration.
func (c *importCommand) Run(k *kong.Kong, p *cli.Process) error {
	return c.Translate(k, p, importRelay)
}

// importRelay translates the keys of a Miredo relay.
func importRelay(t *miredo.Translation) {
	i := cli.Imported{Translation: t}
	given := i.Key("RelayType", func(value string) error {
		switch strings.ToLower(value) {
		case "relay", "cone":
			i.Note("teredo-relay is always a relay. Like Miredo it needs IPv6 forwarding: set net.ipv6.conf.all.forwarding, or add forwarding = true.")
			return nil
		case "restricted":
			i.Note("teredo-relay finds out by itself whether it is behind a NAT.")
			return nil
		case "client", "autoclient":
			return errors.New("this is the configuration of a client: use 'teredo-client import'")
		}
		return errors.New("this is not client, autoclient, relay, cone or restricted")
	})
	if !given {
		t.Fault("has no RelayType, so it is the configuration of a client: use 'teredo-client import'")
	}
	i.Interface()
	i.Local("The port is 3545 now; Miredo took a random one. Rules of a firewall can name it.")
	i.Rest()
}
