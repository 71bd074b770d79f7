package main

import (
	"strings"
	"testing"
)

func TestAnnounceFlags(t *testing.T) {
	for name, test := range map[string]struct {
		flags announceFlags
		want  string // in the error
	}{
		"none":            {announceFlags{}, ""},
		"both":            {announceFlags{DNSUpdate: "laptop.example.net", DNSKey: "key"}, ""},
		"a command alone": {announceFlags{OnChange: "exit"}, ""},
		"no key":          {announceFlags{DNSUpdate: "laptop.example.net"}, "--dns-update needs --dns-key"},
		"no name":         {announceFlags{DNSKey: "key"}, "--dns-key is of no use without --dns-update"},
		"one label":       {announceFlags{DNSUpdate: "laptop", DNSKey: "key"}, `"laptop" is no name that a record can have`},
		"a URL":           {announceFlags{DNSUpdate: "http://laptop.example.net", DNSKey: "key"}, "is no name that a record can have"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := test.flags.check(); err != nil {
				got = err.Error()
			}
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
