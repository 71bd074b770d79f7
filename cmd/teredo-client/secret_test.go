package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/tunnel"
)

func TestOpenSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	open := func(path string) (tunnel.ClientConfig, error) {
		cfg := tunnel.ClientConfig{Log: slog.New(slog.NewTextHandler(&log, nil))}
		r := run{SecretFile: path}
		_, err := r.openSecret(&cfg)
		return cfg, err
	}

	if cfg, err := open(""); err != nil || cfg.ClientID != nil || cfg.Secret != nil {
		t.Errorf("without a file: %q, %q, %v", cfg.ClientID, cfg.Secret, err)
	}
	write("laptop hunter2\n")
	if cfg, err := open(path); err != nil || string(cfg.ClientID) != "laptop" || string(cfg.Secret) != "hunter2" {
		t.Errorf("got %q, %q, %v", cfg.ClientID, cfg.Secret, err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || strings.Contains(got, "hunter2") { // C-SEC-06
		t.Errorf("log %q", got)
	}
	write("laptop hunter2\nphone hunter3\n")
	if _, err := open(path); err == nil || !strings.Contains(err.Error(), "has 2 clients") {
		t.Errorf("error %v", err)
	}
}
