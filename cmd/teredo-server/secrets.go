package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/teredo-suite/teredo/internal/secret"
	"github.com/teredo-suite/teredo/internal/server"
)

// loadSecrets reads the file of the clients' secrets. They are nil when no file is given: then every client is served.
func (r *run) loadSecrets(log *slog.Logger) (*server.Secrets, error) {
	if r.SecretFile == "" {
		return nil, nil
	}
	clients, err := secret.Load(r.SecretFile)
	if err != nil {
		return nil, err
	}
	secret.Warn(log, clients...)
	now := time.Now()
	list := make([]server.Secret, len(clients))
	expired := 0
	for i, c := range clients {
		list[i] = server.Secret{ClientID: c.ID, Key: c.Secret, Expires: c.Expires}
		if !c.Expires.IsZero() && !now.Before(c.Expires) {
			expired++
		}
	}
	log.Info("serving only clients with a secret", "clients", len(clients), "expired", expired, "file", r.SecretFile)
	return server.NewSecrets(list, time.Now), nil
}

// reload has the server use what the flags and the file of secrets say now. It reports whether there is a file, or was one until now.
func (s *program) reload(ctx context.Context) (files bool) {
	files = s.reloadSecrets(ctx)
	select {
	case <-s.started:
		s.cfg.Filter.Permit = s.run.permit()
		s.running.SetFilter(s.cfg.Filter)
		if s.relay != nil {
			s.relay.SetPermit(ctx, s.run.PermitIPv4)
		}
	case <-ctx.Done():
	}
	return files
}

// reloadSecrets has the server use what is in the file now, once it has been set up. It reports whether there is a file, or was
// one until now.
func (s *program) reloadSecrets(ctx context.Context) bool {
	if s.run.SecretFile == "" && s.cfg.Secrets == nil {
		return false
	}
	secrets, err := s.run.loadSecrets(s.log)
	if err != nil {
		s.log.Error("cannot read the secrets again; keeping those in use", "error", err)
		return true
	}
	select {
	case <-s.started:
		s.running.SetSecrets(secrets)
		s.cfg.Secrets = secrets
	case <-ctx.Done():
	}
	return true
}
