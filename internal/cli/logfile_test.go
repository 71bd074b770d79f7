package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A log file and the one with older lines are bounded, together they have the latest lines, and what others append stays in order.
func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.log")
	other, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l, err := openLogFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.file.Close()
	l.most = 1000
	var all bytes.Buffer
	for n := range 1000 {
		line := fmt.Sprintf("line %d\n", n)
		all.WriteString(line)
		if n%100 == 50 {
			_, err = other.WriteString(line)
		} else {
			_, err = l.Write([]byte(line))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	older, err := os.ReadFile(path + ".1")
	if err != nil {
		t.Fatal(err)
	}
	latest, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(latest) > 1100 || len(older) > 1100 || len(older) < 900 || !bytes.HasSuffix(all.Bytes(), append(older, latest...)) {
		t.Errorf("%d bytes and %d older ones:\n%s\n%s", len(latest), len(older), older, latest)
	}
}
