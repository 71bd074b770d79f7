//go:build unix

package secret

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func write(t *testing.T, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	for _, mode := range []os.FileMode{0o600, 0o400} {
		clients, err := Load(write(t, mode, "laptop secret\noffice secret\n"))
		if err != nil || len(clients) != 2 {
			t.Errorf("mode %o: %v, %v", mode, clients, err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620, 0o602, 0o644, 0o601} {
		path := write(t, mode, "laptop secret\n")
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("mode %o: error %v", mode, err)
		}
	}
}

func TestLoadErrors(t *testing.T) {
	folder := t.TempDir()
	large := write(t, 0o600, strings.Repeat("#\n", maxFile/2)+"laptop secret\n")
	wrong := write(t, 0o600, "laptop secret\noffice\n")
	for path, want := range map[string]string{
		filepath.Join(folder, "none"): "secrets file " + folder + "/none: no such file or directory",
		folder:                        "secrets file " + folder + ": it is not a regular file",
		large:                         "secrets file " + large + ": it is larger than 16 MiB",
		wrong:                         "secrets file " + wrong + `: line 2: client "office" has no secret`,
	} {
		if _, err := Load(path); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestLoadOne(t *testing.T) {
	c, err := LoadOne(write(t, 0o600, "# mine\nlaptop secret\n"))
	if err != nil || c.ID != "laptop" || string(c.Secret) != "secret" {
		t.Errorf("LoadOne = %+v, %v", c, err)
	}
	path := write(t, 0o600, "laptop secret\noffice secret\n")
	want := "secrets file " + path + " has 2 clients; keep only the line of this client"
	if _, err := LoadOne(path); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if _, err := LoadOne(path + ".none"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("error %v", err)
	}
}

// C-SEC-06
func TestWarn(t *testing.T) {
	var log bytes.Buffer
	Warn(slog.New(slog.NewTextHandler(&log, nil)),
		Client{ID: "strong", Secret: bytes.Repeat([]byte("s"), 16), Line: 1},
		Client{ID: "weak", Secret: []byte("hunter2"), Line: 2})
	got := log.String()
	if strings.Count(got, "\n") != 1 || !strings.Contains(got, "client=weak line=2 bytes=7") || strings.Contains(got, "hunter2") {
		t.Errorf("log %q", got)
	}
}
