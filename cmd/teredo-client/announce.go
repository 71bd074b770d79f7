package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/dnsupdate"
	"github.com/teredo-suite/teredo/internal/onchange"
)

// announceFlags say who is told the addresses of the client.
type announceFlags struct {
	DNSUpdate string `name:"dns-update" placeholder:"NAME" help:"Keep the AAAA record of this name at the address of this host, by dynamic updates (RFC 2136) to the primary name server of its zone. Needs --dns-key."`
	DNSKey    string `name:"dns-key" placeholder:"FILE" help:"Sign these updates with the TSIG key in this file, mode 600, as 'tsig-keygen' writes it. SIGHUP makes the client read it again."`
	OnChange  string `placeholder:"COMMAND" help:"Run this shell command on each change of the addresses, with TEREDO_STATE (qualified, offline, stopped), TEREDO_ADDRESS, TEREDO_NATIVE_ADDRESS and TEREDO_INTERFACE in its environment."`
}

func (f *announceFlags) check() error {
	switch {
	case f.DNSUpdate == "" && f.DNSKey != "":
		return errors.New("--dns-key is of no use without --dns-update: name the record to keep")
	case f.DNSUpdate != "" && f.DNSKey == "":
		return errors.New("--dns-update needs --dns-key: a file with the key that the name server accepts updates of this name with")
	case f.DNSUpdate != "":
		return dnsupdate.CheckName(f.DNSUpdate)
	}
	return nil
}

// announcer tells others the addresses of the client.
type announcer struct {
	dns  *dnsupdate.Keeper // nil: no name is kept
	hook *onchange.Hook    // nil: no command is run
}

// newAnnouncer makes ready what the flags ask for; the interface may have no name. It starts the process that runs the command, so the
// program may not be confined yet.
func (f *announceFlags) newAnnouncer(key dnsupdate.Key, log *slog.Logger, ifname string) (a announcer, err error) {
	if f.DNSUpdate != "" {
		a.dns = dnsupdate.NewKeeper(f.DNSUpdate, key, dnsupdate.Find, log)
	}
	if f.OnChange != "" {
		if a.hook, err = onchange.Start(log, ifname, "on-change", "--", f.OnChange); err != nil {
			return a, fmt.Errorf("prepare for --on-change: %w", err)
		}
	}
	return a, nil
}

// loadKey reads the key for updates of the name. It is empty when no name is kept.
func (f *announceFlags) loadKey() (key dnsupdate.Key, err error) {
	if f.DNSUpdate != "" {
		key, err = dnsupdate.LoadKey(f.DNSKey)
	}
	return key, err
}

// reloadKey has updates signed with the key that is in the file now. It reports whether there is a file.
func (a announcer) reloadKey(f *announceFlags, log *slog.Logger) bool {
	if a.dns == nil {
		return false
	}
	key, err := f.loadKey()
	if err != nil {
		log.Error("cannot read the DNS key again; keeping the one in use", "error", err)
		return true
	}
	a.dns.SetKey(key)
	log.Info("updating the name with the key in the file", "key", key.Name, "file", f.DNSKey)
	return true
}

// tell tells the Teredo address of the client, and its native one; either may be zero. It does not wait.
func (a announcer) tell(address, native netip.Addr) {
	if a.dns != nil {
		if native.IsValid() {
			a.dns.Set(native)
		} else {
			a.dns.Set(address)
		}
	}
	if a.hook != nil {
		e := onchange.Event{State: onchange.Offline, Address: address, NativeAddress: native}
		if address.IsValid() {
			e.State = onchange.Qualified
		}
		a.hook.Tell(e)
	}
}

// run tells the others until ctx ends, and then that the client has stopped.
func (a announcer) run(ctx context.Context) error {
	var tasks sync.WaitGroup
	if a.dns != nil {
		tasks.Go(func() { a.dns.Run(ctx) })
	}
	if a.hook != nil {
		tasks.Go(func() { a.hook.Run(ctx) })
	}
	tasks.Wait()
	return nil
}

// status describes the record that is kept, if there is one.
func (a announcer) status() dnsupdate.Status {
	if a.dns == nil {
		return dnsupdate.Status{}
	}
	return a.dns.Status()
}

// onChangeCommand is the process that runs the command of --on-change, started by the client itself.
type onChangeCommand struct {
	Command string `arg:"" help:"Shell command to run."`
}

// Run reads events from standard input.
func (c *onChangeCommand) Run(p *cli.Process) error {
	return onchange.Serve(os.Stdin, c.Command, onchange.Limit, p.Logger(&cli.RunFlags{}))
}
