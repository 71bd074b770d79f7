package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/secret"
	"github.com/teredo-suite/teredo/server"
)

// secrets are those of the clients, as they are in a file.
type secrets struct {
	path    string
	log     *slog.Logger
	hangups chan os.Signal
}

// openSecrets reads the file for the first time. From then on SIGHUP means to read it again.
func (r *run) openSecrets(log *slog.Logger) (*secrets, *server.Secrets, error) {
	s := &secrets{path: r.SecretFile, log: log, hangups: make(chan os.Signal, 1)}
	if s.path == "" {
		return s, nil, nil
	}
	signal.Notify(s.hangups, syscall.SIGHUP)
	loaded, err := s.load()
	return s, loaded, cli.Usage(err)
}

// follow gives the secrets to the server again at each SIGHUP, until ctx ends.
func (s *secrets) follow(ctx context.Context, srv *server.Server) error {
	return secret.Follow(ctx, s.hangups, s.log, s.load, srv.SetSecrets)
}

func (s *secrets) load() (*server.Secrets, error) {
	clients, err := secret.Load(s.path)
	if err != nil {
		return nil, err
	}
	secret.Warn(s.log, clients...)
	now := time.Now()
	list := make([]server.Secret, len(clients))
	expired := 0
	for i, c := range clients {
		list[i] = server.Secret{ClientID: c.ID, Key: c.Secret, Expires: c.Expires}
		if !c.Expires.IsZero() && !now.Before(c.Expires) {
			expired++
		}
	}
	s.log.Info("serving only clients with a secret", "clients", len(clients), "expired", expired, "file", s.path)
	return server.NewSecrets(list, time.Now), nil
}
