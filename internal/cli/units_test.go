package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
		reload := "/usr/bin/" + name + " upgrade"
		if name == "teredo-client" {
			reload = "/bin/kill -HUP $MAINPID"
		}
		for _, line := range []string{
			"User=" + name, "RuntimeDirectory=" + name, // each has its own
			"Restart=on-failure", "ExecReload=" + reload, fmt.Sprintf("RestartPreventExitStatus=%d", exitUsage),
		} {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s has no %s", unit, line)
			}
		}
	}
}

// A server that is a relay, too, may do all that a relay may: its unit with the additional settings lets it.
func TestServerRelayUnit(t *testing.T) {
	settings := func(files ...string) map[string][]string {
		all := make(map[string][]string)
		for _, file := range files {
			text, err := os.ReadFile("../../contrib/systemd/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
					all[key] = append(all[key], strings.Fields(value)...)
				}
			}
		}
		return all
	}
	relay, both := settings("teredo-relay.service"), settings("teredo-server.service", "teredo-server-relay.conf")
	for _, key := range []string{"AmbientCapabilities", "CapabilityBoundingSet", "RestrictAddressFamilies", "SystemCallFilter", "DeviceAllow",
		"BindPaths", "ReadWritePaths"} {
		for _, value := range relay[key] {
			if !slices.Contains(both[key], value) {
				t.Errorf("%s lacks %s", key, value)
			}
		}
	}
	if both["StateDirectory"] == nil {
		t.Error("there is no folder for state")
	}
}
