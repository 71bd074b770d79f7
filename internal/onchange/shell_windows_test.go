package onchange

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The command is one of cmd.exe, and sees the event in its environment.
func TestWindowsCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told file")
	events := strings.NewReader(`{"state":"offline","address":"","native_address":""}`)
	if err := Serve(events, `echo %TEREDO_STATE%>"`+file+`"`, Limit, slog.Default()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.TrimSpace(string(text)) != "offline" {
		t.Errorf("%q, %v", text, err)
	}
}
