package main

import (
	"context"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/secret"
)

// loadSecret reads the file with the client's identifier and secret. Both are empty when no file is given.
func (r *run) loadSecret(log *slog.Logger) (clientID, key []byte, err error) {
	if r.SecretFile == "" {
		return nil, nil, nil
	}
	c, err := secret.LoadOne(r.SecretFile)
	if err != nil {
		return nil, nil, err
	}
	secret.Warn(log, c)
	log.Info("qualifying with a secret", "client", c.ID, "file", r.SecretFile)
	return []byte(c.ID), c.Secret, nil
}

// reloadSecret has the client use what is in the file now, once it has been set up. It reports whether there is a file, or was
// one until now.
func (c *client) reloadSecret(ctx context.Context) bool {
	if c.run.SecretFile == "" && !c.secure {
		return false
	}
	clientID, key, err := c.run.loadSecret(c.cfg.Log)
	if err != nil {
		c.cfg.Log.Error("cannot read the secret again; keeping the one in use", "error", err)
		return true
	}
	if !c.starts(ctx) {
		return true
	}
	if err := c.running.SetSecret(ctx, clientID, key); err != nil && ctx.Err() == nil {
		c.cfg.Log.Error("cannot use the secret", "error", err)
		return true
	}
	c.secure = key != nil
	return true
}
