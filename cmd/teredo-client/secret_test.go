package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	load := func(path string) (id, key []byte, err error) {
		f := secretFile{flags: &clientFlags{SecretFile: path}, log: slog.New(slog.NewTextHandler(&log, nil))}
		return f.load()
	}

	if id, key, err := load(""); err != nil || id != nil || key != nil {
		t.Errorf("without a file: %q, %q, %v", id, key, err)
	}
	write("laptop hunter2\n")
	if id, key, err := load(path); err != nil || string(id) != "laptop" || string(key) != "hunter2" {
		t.Errorf("got %q, %q, %v", id, key, err)
	}
	if got := log.String(); !strings.Contains(got, "level=WARN") || strings.Contains(got, "hunter2") { // C-SEC-06
		t.Errorf("log %q", got)
	}
	write("laptop hunter2\nphone hunter3\n")
	if _, _, err := load(path); err == nil || !strings.Contains(err.Error(), "has 2 clients") {
		t.Errorf("error %v", err)
	}
}
