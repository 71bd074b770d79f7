package main

import (
	"fmt"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/server"
)

// kernel is what answers in the kernel, as the server sees it.
type kernel struct{ *kernelpath.Server }

// Counters are those of the kernel in the server's form.
func (k kernel) Counters() (server.Counters, error) {
	n, err := k.Counts()
	c := server.Counters{
		Solicitations: n.Solicitations, Advertisements: n.Advertisements, ToCone: n.ToCone, Bubbles: n.Bubbles, Drops: make(map[string]uint64),
	}
	for reason, n := range map[drop.Reason]uint64{
		drop.Solicitation: n.Drops.Solicitation, drop.Destination: n.Drops.Destination, drop.NotGlobal: n.Drops.NotGlobal,
		drop.NoSecondAddress: n.Drops.NoSecondAddress, drop.Loop: n.Drops.Loop, drop.Budget: n.Drops.Budget,
	} {
		if n > 0 {
			c.Drops[reason.String()] = n
		}
	}
	return c, err
}

// SetSecrets replaces the secrets.
func (k kernel) SetSecrets(s *server.Secrets) error { return k.Server.SetSecrets(kernelSecrets(s)) }

// kernelSecrets are secrets in the kernel's form; nil if there are none to know.
func kernelSecrets(s *server.Secrets) map[string]kernelpath.Secret {
	if s == nil {
		return nil
	}
	secrets := make(map[string]kernelpath.Secret)
	for client, key := range s.All() {
		secrets[client] = kernelpath.Secret(key)
	}
	return secrets
}

// openKernel has the kernel answer beside the program, where it can.
func (s *program) openKernel() error {
	if s.run.KernelPath == offload.Off {
		return nil
	}
	k, err := openKernel(s.cfg, s.running, s.log)
	switch {
	case err == nil:
		s.kernel = true
		s.running.SetKernel(kernel{k})
	case s.run.KernelPath == offload.On:
		return fmt.Errorf("%w; use --kernel-path=auto or off", err)
	default:
		s.log.Info("the program answers everything instead of the kernel", "reason", err)
	}
	return nil
}

// openKernel loads the rules into the kernel and attaches them.
func openKernel(cfg server.Config, running *server.Server, log *slog.Logger) (*kernelpath.Server, error) {
	now := running.Status()
	rate, sources, started := running.Budget()
	k, err := kernelpath.OpenServer(kernelpath.ServerConfig{
		Bind: now.Bind, Public: now.Public, Filter: cfg.Filter, Secrets: kernelSecrets(cfg.Secrets), Rate: rate, Sources: sources, Started: started,
	}, log)
	if err != nil {
		return nil, err
	}
	if err := k.Refresh(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}
