package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the units for systemd say about exit codes and signals is what the programs do.
func TestUnits(t *testing.T) {
	units, err := filepath.Glob("../../contrib/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("units %q, %v", units, err)
	}
	users, err := os.ReadFile("../../contrib/systemd/teredo.sysusers")
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(unit), ".service")
		if !strings.Contains(string(users), "\nu "+name+" - ") {
			t.Errorf("no user %s is made", name)
		}
		for _, line := range []string{
			"User=" + name, "RuntimeDirectory=" + name, // each has its own
			"Restart=on-failure", "ExecReload=/bin/kill -HUP $MAINPID", fmt.Sprintf("RestartPreventExitStatus=%d", exitUsage),
		} {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s has no %s", unit, line)
			}
		}
	}
}
