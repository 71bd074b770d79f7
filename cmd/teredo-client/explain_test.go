package main

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/teredo-suite/teredo/internal/cli"
)

// What an address contains, and which checks it fails (W-ADDR-01, W-ADDR-03, W-ADDR-05).
func TestExplain(t *testing.T) {
	for name, test := range map[string]struct {
		address string
		permit  cli.Prefixes
		server  string
		mapped  string
		flags   string
		cone    bool
		random  bool
		failed  []string
	}{
		"good":            {"2001:0:808:808:2c05:f227:f7f7:fbfb", nil, "8.8.8.8", "8.8.4.4:3544", "0x2c05", false, true, nil},
		"as of RFC 4380":  {"2001:0:808:808:8000:f227:f7f7:fbfb", nil, "8.8.8.8", "8.8.4.4:3544", "0x8000", true, false, nil},
		"a permitted one": {"2001:0:a00:1:0:f227:3fff:fdfe", cli.Prefixes{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}, "10.0.0.1", "192.0.2.1:3544", "0x0000", false, false, nil},
		"special-use": {"2001:0:a00:1:0:f227:3fff:fdfe", nil, "10.0.0.1", "192.0.2.1:3544", "0x0000", false, false,
			[]string{"the server's address is private", "the mapped address is of a special-use range"}},
		"wrong bits": {"2001:0:808:808:4305:ffff:80ff:fffe", nil, "8.8.8.8", "127.0.0.1:0", "0x4305", false, true,
			[]string{"the mapped address is of the loopback range", "the mapped port is 0", "the reserved flag 0x4000 is set", "a flag of 0x0300, universal and group, is set"}},
		"no unicast": {"2001::f227:1fff:ffff", nil, "0.0.0.0", "224.0.0.0:3544", "0x0000", false, false,
			[]string{"the server's address is unspecified", "the mapped address is multicast"}},
		"link-local": {"2001:0:a9fe:1:0:f227:f7f7:fbfb", nil, "169.254.0.1", "8.8.4.4:3544", "0x0000", false, false, []string{"the server's address is link-local"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := explainCommand{Address: test.address, PermitIPv4: test.permit, JSON: true}
			var out strings.Builder
			if err := c.Run(&kong.Kong{Stdout: &out}); err != nil {
				t.Fatal(err)
			}
			var e explanation
			if err := json.Unmarshal([]byte(out.String()), &e); err != nil {
				t.Fatal(err)
			}
			if e.Address.String() != test.address || e.Server.String() != test.server || e.Mapped.String() != test.mapped {
				t.Errorf("%v: server %v, mapped %v", e.Address, e.Server, e.Mapped)
			}
			if e.Flags != test.flags || e.Cone != test.cone || e.Random != test.random {
				t.Errorf("flags %s, cone %v, random %v", e.Flags, e.Cone, e.Random)
			}
			if e.Failed == nil || !slices.Equal(e.Failed, test.failed) || e.WellFormed != (test.failed == nil) {
				t.Errorf("well-formed %v, failed %q, want %q", e.WellFormed, e.Failed, test.failed)
			}
		})
	}
}

func TestExplainText(t *testing.T) {
	var out strings.Builder
	if err := (&explainCommand{Address: "2001:0:808:808:0:f227:f5ff:fffe"}).Run(&kong.Kong{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	const want = `address        2001:0:808:808:0:f227:f5ff:fffe
server         8.8.8.8
mapped         10.0.0.1:3544
flags          0x0000
cone           no
random flags   no
well formed    no
failed checks  the mapped address is private
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

func TestExplainWrongAddress(t *testing.T) {
	for address, want := range map[string]string{
		"8.8.8.8":           "is not a Teredo address",
		"2001:db8::1":       "operator's own prefix",
		"2001::1%eth0":      "is not a Teredo address",
		"teredo.example":    "is not an IPv6 address, such as",
		"[2001:0:808:808:]": "is not an IPv6 address, such as",
	} {
		err := (&explainCommand{Address: address}).Run(nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", address, err)
		}
	}
}
