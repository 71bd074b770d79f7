package main

import (
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/miredo"
)

// Every key of miredo.conf(5) of a relay comes across, or has a comment that says why not. Those of a client do not belong here.
func TestImport(t *testing.T) {
	const general = "InterfaceName teredo\nBindAddress 198.51.100.1\nBindPort 3546\nPrefix 2001:0:0::\nInterfaceMTU 1280\nSyslogFacility user\n"
	for name, test := range map[string]struct {
		text    string
		want    []string // in the configuration
		warning string
		err     string
	}{
		"cone": {"RelayType cone\n" + general, []string{
			"tun = 'teredo'\n", "bind = '198.51.100.1'\n", "port = 3546\n", "permit-ipv4 = [", "'198.51.100.0/24'",
			"# Line 1: RelayType \"cone\"", "# Line 5: Prefix", "# Line 6: InterfaceMTU", "# Line 7: SyslogFacility",
		}, "", ""},
		"restricted":     {"RelayType restricted\n", []string{"finds out by itself", "The port is 3545 now"}, "", ""},
		"with a server":  {"RelayType relay\nServerAddress 192.0.2.1\n", nil, `line 2: "ServerAddress" "192.0.2.1" is left out`, ""},
		"a client":       {"RelayType client\n", nil, "", "line 1: RelayType \"client\": this is the configuration of a client: use 'teredo-client import'"},
		"a client again": {"ServerAddress 192.0.2.1\n", nil, `line 1: "ServerAddress"`, "has no RelayType"},
	} {
		t.Run(name, func(t *testing.T) {
			translation := miredo.NewTranslation("miredo.conf", []byte(test.text), "A test.")
			importRelay(translation)
			config, warnings, err := translation.Finish()
			for _, want := range test.want {
				if !strings.Contains(strings.ReplaceAll(config, "\n# ", " "), want) && !strings.Contains(config, want) {
					t.Errorf("no %q in\n%s", want, config)
				}
			}
			if all := strings.Join(warnings, "\n"); (all == "") != (test.warning == "") || !strings.Contains(all, test.warning) {
				t.Errorf("warnings %q, want %q", all, test.warning)
			}
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("error %v, want %q", err, test.err)
			}
		})
	}
}
