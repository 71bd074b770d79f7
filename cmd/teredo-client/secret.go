package main

import (
	"context"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/secret"
)

// secretFile is the file of --secret-file.
type secretFile struct {
	flags   *clientFlags
	log     *slog.Logger
	inUse   bool            // there is a secret in use
	started <-chan struct{} // closed when set is
	set     func(ctx context.Context, clientID, key []byte) error
}

// load reads the file with the client's identifier and secret. Both are empty when no file is given.
func (f *secretFile) load() (clientID, key []byte, err error) {
	path := f.flags.SecretFile
	if path == "" {
		return nil, nil, nil
	}
	c, err := secret.LoadOne(path)
	if err != nil {
		return nil, nil, err
	}
	secret.Warn(f.log, c)
	f.log.Info("qualifying with a secret", "client", c.ID, "file", path)
	f.inUse = true
	return []byte(c.ID), c.Secret, nil
}

// reload has the client use what is in the file now, once it has been set up. It reports whether there is a file, or was one until
// now.
func (f *secretFile) reload(ctx context.Context) bool {
	if f.flags.SecretFile == "" && !f.inUse {
		return false
	}
	clientID, key, err := f.load()
	if err != nil {
		f.log.Error("cannot read the secret again; keeping the one in use", "error", err)
		return true
	}
	select {
	case <-f.started:
	case <-ctx.Done():
		return true
	}
	if err := f.set(ctx, clientID, key); err != nil && ctx.Err() == nil {
		f.log.Error("cannot use the secret", "error", err)
		return true
	}
	f.inUse = key != nil
	return true
}
