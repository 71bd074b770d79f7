package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/complete"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/manual"
)

// documents are commands that every program has for packages and shells.
type documents struct {
	Completion completionCommand `cmd:"" help:"Print the script that has a shell complete commands, flags and values."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what the last word can become, for the script of a shell."`
	Man        manCommand        `cmd:"" hidden:"" help:"Print the manual page."`
	Sample     sampleCommand     `cmd:"" hidden:"" help:"Print a configuration file that has each key with its default."`
}

type completionCommand struct {
	Shell string `arg:"" enum:"${shells}" placeholder:"SHELL" help:"bash, zsh or fish."`
}

// Help is the detailed help of the completion command.
func (completionCommand) Help() string {
	return `Packages install the script already. Elsewhere, put it where the shell looks for it.

Examples:

    ${name} completion bash >~/.local/share/bash-completion/completions/${name}
    ${name} completion fish >~/.config/fish/completions/${name}.fish
    source <(${name} completion zsh)`
}

// Run prints the script.
func (c *completionCommand) Run(k *kong.Kong) error {
	script, err := complete.Script(c.Shell, k.Model.Name)
	if err != nil {
		return Usage(err)
	}
	_, err = io.WriteString(k.Stdout, script)
	return err
}

type completeCommand struct {
	Words []string `arg:"" optional:"" sep:"none" help:"Words behind the program's name, up to the cursor."`
}

// Run prints the candidates, one a line, each with its help behind a tab.
func (c *completeCommand) Run(ctx context.Context, k *kong.Kong) error {
	sources := func(v *kong.Value, placeholder string, flags map[string]string) []complete.Candidate {
		return candidates(ctx, k, v, placeholder, flags)
	}
	for _, candidate := range complete.Words(k.Model, c.Words, sources) {
		line := candidate.Text
		if candidate.Help != "" {
			line += "\t" + candidate.Help
		}
		if _, err := fmt.Fprintln(k.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}

// askTimeout bounds how long a person who presses the tabulator key waits for a program that does not answer.
const askTimeout = 500 * time.Millisecond

// candidates are the values that depend on this host. What cannot be found out has none.
func candidates(ctx context.Context, k *kong.Kong, v *kong.Value, placeholder string, flags map[string]string) (all []complete.Candidate) {
	switch {
	case placeholder == "INTERFACE":
		interfaces, _ := net.Interfaces()
		for _, i := range interfaces {
			all = append(all, complete.Candidate{Text: i.Name})
		}
	case placeholder == "HOST", placeholder == "SERVER":
		file := flags["config"]
		if file == "" {
			file = "/etc/teredo/" + strings.TrimPrefix(k.Model.Name, "teredo-") + ".toml"
		}
		values, _ := readConfig(file)
		for server := range strings.FieldsFuncSeq(values["server"], func(r rune) bool { return r == ',' }) {
			all = append(all, complete.Candidate{Text: server, Help: "in " + file})
		}
	case v.Target.Type() == reflect.TypeFor[IPv4]():
		addresses, _ := net.InterfaceAddrs()
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				all = append(all, complete.Candidate{Text: p.Addr().String()})
			}
		}
	case strings.HasPrefix(placeholder, "ADDRESS") && v.Flag == nil:
		return peerAddresses(ctx, k, flags)
	}
	return all
}

// peerAddresses are those that a running program tells of.
func peerAddresses(ctx context.Context, k *kong.Kong, flags map[string]string) (all []complete.Candidate) {
	socket := flags["control"]
	for _, command := range k.Model.Children {
		for _, flag := range command.Flags {
			if flag.Name == "control" && socket == "" {
				socket = flag.Default
			}
		}
	}
	ctx, end := context.WithTimeout(ctx, askTimeout)
	defer end()
	var peers []ranked
	if err := control.Get(ctx, socket, "peers", &peers); err != nil {
		return nil
	}
	for _, peer := range peers {
		all = append(all, complete.Candidate{Text: peer.Address.String()})
	}
	return all
}

type manCommand struct {
	Date int64 `env:"SOURCE_DATE_EPOCH" help:"Date of the page, in seconds since 1970."`
}

// Run prints the page.
func (c manCommand) Run(k *kong.Kong) error {
	page := manual.Page{Program: k.Model, Version: built(), Date: time.Unix(c.Date, 0).UTC()}
	_, err := io.WriteString(k.Stdout, page.String())
	return err
}

type sampleCommand struct {
	Command string `arg:"" default:"run" help:"Command that reads the file."`
}

// Run prints the file.
func (c *sampleCommand) Run(k *kong.Kong) error {
	for _, command := range k.Model.Children {
		if command.Name == c.Command {
			_, err := io.WriteString(k.Stdout, manual.Sample(command))
			return err
		}
	}
	return Usage(errors.New("there is no command " + c.Command))
}
