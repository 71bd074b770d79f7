package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/secret"
	"github.com/teredo-suite/teredo/tunnel"
)

// secretFile is the file with the client's identifier and secret. There need not be one.
type secretFile struct {
	path    string
	log     *slog.Logger
	hangups chan os.Signal
}

// openSecret reads the file into the configuration. From then on SIGHUP means to read it again.
func (r *run) openSecret(cfg *tunnel.ClientConfig) (*secretFile, error) {
	s := &secretFile{path: r.SecretFile, log: cfg.Log, hangups: make(chan os.Signal, 1)}
	if s.path == "" {
		return s, nil
	}
	signal.Notify(s.hangups, syscall.SIGHUP)
	c, err := s.load()
	if err != nil {
		return nil, cli.Usage(err)
	}
	cfg.ClientID, cfg.Secret = []byte(c.ID), c.Secret
	return s, nil
}

// follow gives the secret to the client again at each SIGHUP, until ctx ends.
func (s *secretFile) follow(ctx context.Context, t *tunnel.Client) error {
	return secret.Follow(ctx, s.hangups, s.log, s.load, func(c secret.Client) {
		if err := t.SetSecret(ctx, []byte(c.ID), c.Secret); err != nil && ctx.Err() == nil {
			s.log.Error("cannot use the secret", "error", err)
		}
	})
}

func (s *secretFile) load() (secret.Client, error) {
	c, err := secret.LoadOne(s.path)
	if err != nil {
		return c, err
	}
	secret.Warn(s.log, c)
	s.log.Info("qualifying with a secret", "client", c.ID, "file", s.path)
	return c, nil
}
