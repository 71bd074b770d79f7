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
	return cli.ImportHelp("the miredo.conf of a Miredo client; teredo-relay imports that of a relay", "miredo.conf", "client.toml")
}

// Run writes the configuration.
func (c *importCommand) Run(k *kong.Kong, p *cli.Process) error {
	return c.Translate(k, p, importClient)
}

// importClient translates the keys of a Miredo client.
func importClient(t *miredo.Translation) {
	i := cli.Imported{Translation: t}
	i.Key("RelayType", func(value string) error {
		switch strings.ToLower(value) {
		case "client", "autoclient":
			i.Note("teredo-client is always a client.")
			return nil
		case "relay", "cone", "restricted":
			return errors.New("this is the configuration of a relay: use 'teredo-relay import'")
		}
		return errors.New("this is not client, autoclient, relay, cone or restricted")
	})
	server := func(flag string) func(string) error {
		return func(value string) error {
			err := i.Host(value)
			if err == nil {
				i.Set(flag, value)
			}
			return err
		}
	}
	if !i.Key("ServerAddress", server("server")) {
		t.Fault("names no server, which a client needs: add ServerAddress, with the server that Miredo was given on its command line")
	}
	i.Key("ServerAddress2", server("server2"))
	i.Interface()
	i.Local("The client uses the port of its last run; the first time, a random one.")
	i.Rest()
}
