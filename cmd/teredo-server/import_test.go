package main

import (
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/miredo"
)

// Every key of miredo-server.conf(5) comes across, or has a comment that says why not.
func TestImport(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string // in the configuration
		err  string
	}{
		"every key": {"ServerBindAddress 192.88.98.1\nServerBindAddress2 192.88.98.9\nPrefix 2001::\nInterfaceMTU 1280\nSyslogFacility local7\n",
			[]string{"bind = '192.88.98.1'\n", "bind2 = '192.88.98.9'\n", "# Line 3: Prefix", "# Line 4: InterfaceMTU", "# Line 5: SyslogFacility"}, ""},
		"the next address":     {"ServerBindAddress 192.0.2.221\n", []string{"bind2 = '192.0.2.222'\n", "permit-ipv4 = ["}, ""},
		"a name":               {"ServerBindAddress a.example\n", nil, "this is a name: write the IPv4 address that it has"},
		"a private address":    {"ServerBindAddress 192.168.1.1\n", nil, "not a public IPv4 address"},
		"another kind of file": {"ServerAddress a.example\n", nil, "names no ServerBindAddress"},
	} {
		t.Run(name, func(t *testing.T) {
			translation := miredo.NewTranslation("miredo-server.conf", []byte(test.text), "A test.")
			importServer(translation)
			config, _, err := translation.Finish()
			for _, want := range test.want {
				if !strings.Contains(config, want) {
					t.Errorf("no %q in\n%s", want, config)
				}
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}
