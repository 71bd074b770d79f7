package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/miredo"
)

// parsed reads a configuration with the model of the run command.
func parsed(t *testing.T, config string) (run, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "client.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var commands struct {
		Run run `cmd:""`
	}
	k, err := kong.New(&commands, kong.Vars{"control": "/run/client.sock"})
	if err == nil {
		_, err = k.Parse([]string{"run", "--config", file})
	}
	commands.Run.Config = ""
	return commands.Run, err
}

func imported(text string) (config string, warnings []string, err error) {
	t := miredo.NewTranslation("miredo.conf", []byte(text), "A test.")
	importClient(t)
	return t.Finish()
}

// Every key of miredo.conf(5) comes across, or has a comment that says why not.
func TestImport(t *testing.T) {
	config, warnings, err := imported(`RelayType autoclient
ServerAddress 192.0.2.1
ServerAddress2 teredo.example.net
Prefix 2001::
InterfaceMTU 1280
InterfaceName miredo
BindAddress 192.168.1.2
BindPort 40000
SyslogFacility daemon
`)
	if err != nil || warnings != nil {
		t.Fatal(warnings, err)
	}
	got, err := parsed(t, config)
	if err != nil {
		t.Fatalf("%v:\n%s", err, config)
	}
	want := []string{"192.0.2.1", "teredo.example.net", "miredo", "192.168.1.2", "40000"}
	if diff := cmp.Diff(want, []string{got.Server[0], got.Server2[0], got.TUN, got.Bind.String(), "40000"}); diff != "" || got.Port != 40000 || len(got.PermitIPv4) == 0 {
		t.Errorf("%s: %+v", diff, got)
	}
	for _, comment := range []string{
		`Line 1: RelayType "autoclient" has no counterpart. teredo-client is always a client.`,
		`Line 4: Prefix "2001::" has no counterpart.`, `Line 5: InterfaceMTU "1280" has no counterpart.`, `Line 9: SyslogFacility "daemon" has no counterpart.`,
	} {
		if !strings.Contains(strings.ReplaceAll(config, "\n# ", " "), comment) {
			t.Errorf("no comment %q in\n%s", comment, config)
		}
	}
}

// Values that do not come across.
func TestImportFaults(t *testing.T) {
	const server = "ServerAddress teredo.example.net\n"
	for name, test := range map[string]struct{ text, want string }{
		"no server":              {"RelayType client\n", "miredo.conf names no server"},
		"a relay":                {server + "RelayType Cone\n", "line 2: RelayType \"Cone\": this is the configuration of a relay: use 'teredo-relay import'"},
		"no type":                {server + "RelayType x\n", `line 2: RelayType "x": this is not client`},
		"a private server":       {"ServerAddress 10.0.0.1\n", "not a public IPv4 address, and Miredo refuses it, too"},
		"a URL":                  {"ServerAddress http://a.example/\n", "name the host alone, a.example"},
		"a name to bind to":      {server + "BindAddress a.example\n", "this is a name: write the IPv4 address that it has"},
		"an IPv6 address":        {server + "BindAddress ::1\n", "is an IPv6 address, and an IPv4 address is needed"},
		"a port":                 {server + "BindPort 65536\n", "this is not a UDP port from 0 to 65535"},
		"a port with letters":    {server + "BindPort 1_0\n", "this is not a UDP port from 0 to 65535"},
		"a name of an interface": {server + "InterfaceName a/b\n", `line 2: InterfaceName "a/b": interface name "a/b" must not be`},
		"a prefix":               {server + "Prefix x\n", `line 2: Prefix "x": this is not an IPv6 prefix`},
		"an MTU":                 {server + "InterfaceMTU 1279\n", `line 2: InterfaceMTU "1279": this is not an MTU from 1280 to 65535`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := imported(test.text); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// Defaults of Miredo, and what a person is told.
func TestImportDefaults(t *testing.T) {
	config, warnings, err := imported("ServerAddress teredo.example.net\nBindAddress 0.0.0.0\nBindPort 0\nPrefix 2001:db8::\nInterfaceMTU 1400\n")
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "line 4: Prefix") || !strings.Contains(warnings[1], "line 5: InterfaceMTU") {
		t.Error(warnings, err)
	}
	got, err := parsed(t, config)
	if err != nil || got.Bind.IsValid() || got.Port != 0 || got.PermitIPv4 != nil || got.TUN != "teredo" {
		t.Errorf("%v: %+v", err, got)
	}
}

// The run command accepts whatever the import writes, unless two settings do not go together, which Check says.
func FuzzImport(f *testing.F) {
	for _, text := range []string{
		"RelayType client\nServerAddress teredo.example.net\nInterfaceName te'\"\\redo\nBindPort 0x10\n",
		"serveraddress 192.0.2.1\nServerAddress2 192.0.2.1\nBindAddress 100.64.0.1\n",
		"ServerAddress a\nInterfaceName \xff\x01\nPrefix 2001:0::/32\nInterfaceMTU 2000\nSyslogFacility kern\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config, _, err := imported(text)
		if err != nil {
			return
		}
		got, err := parsed(t, config)
		if err != nil {
			t.Fatalf("%v:\n%s", err, config)
		}
		if err := got.Check(); err != nil && (got.Server2 == nil || cli.CheckName(got.TUN) != nil) {
			t.Fatalf("%v:\n%s", err, config)
		}
	})
}
