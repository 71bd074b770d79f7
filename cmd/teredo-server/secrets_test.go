package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadSecrets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets")
	text := "laptop hunter2\nphone hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30 expires=2020-01-01\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	log := slog.New(slog.NewTextHandler(&buf, nil))

	r := run{}
	if secrets, err := r.loadSecrets(log); secrets != nil || err != nil {
		t.Errorf("without a file: %v, %v; then nobody needs a secret", secrets, err)
	}
	r.SecretFile = path
	if secrets, err := r.loadSecrets(log); secrets == nil || err != nil {
		t.Errorf("got %v, %v", secrets, err)
	}
	got := buf.String()
	if !strings.Contains(got, "clients=2 expired=1") || strings.Count(got, "level=WARN") != 1 || strings.Contains(got, "hunter2") { // C-SEC-06
		t.Errorf("log %q", got)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if secrets, err := r.loadSecrets(log); secrets != nil || err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("got %v, %v", secrets, err)
	}
}
