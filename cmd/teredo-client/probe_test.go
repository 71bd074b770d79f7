package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/probe"
)

func TestProbeServers(t *testing.T) {
	for _, test := range []struct {
		given []string
		want  []probe.Server
		err   string // of the command line
	}{
		{[]string{"192.0.2.1"}, []probe.Server{{Name: "192.0.2.1", Primary: netip.MustParseAddr("192.0.2.1")}}, ""},
		{[]string{"192.0.2.1,198.51.100.1", "192.0.2.9"}, []probe.Server{
			{Name: "192.0.2.1,198.51.100.1", Primary: netip.MustParseAddr("192.0.2.1"), Secondary: netip.MustParseAddr("198.51.100.1")},
			{Name: "192.0.2.9", Primary: netip.MustParseAddr("192.0.2.9")},
		}, ""},
		{[]string{"10.0.0.1"}, nil, "server 10.0.0.1 is not a global IPv4 address"}, // SEC-V4-02
		{[]string{"192.0.2.1,192.0.2.1"}, nil, "is the same as the primary"},
		{[]string{"192.0.2.1,"}, nil, "neither a host name nor an IPv4 address"},
		{[]string{"2001:db8::1"}, nil, "an IPv6 address"},
		{[]string{"192.0.2.300"}, nil, "neither a host name nor an IPv4 address: write one such as"},
		{[]string{"192.0.2.1:3544"}, nil, "name the host alone, 192.0.2.1"},
		{[]string{"http://teredo.example/"}, nil, "name the host alone, teredo.example"},
		{[]string{""}, nil, "neither a host name nor an IPv4 address"},
		{strings.Split("192.0.2."+strings.Repeat("1 192.0.2.", 16)+"2", " "), nil, "17 servers are given; 16 is the most"},
		{nil, nil, "no server is given, and no client is running"},
	} {
		c := probeCommand{
			Server: test.given, Timeout: time.Second, Control: t.TempDir() + "/none.sock",
			PermitIPv4: cli.Prefixes{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")},
		}
		got, err := c.servers(context.Background())
		switch {
		case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%v: error %v, want %q", test.given, err, test.err)
		case test.err == "" && (err != nil || fmt.Sprint(got) != fmt.Sprint(test.want)):
			t.Errorf("%v: %v, %v", test.given, got, err)
		}
	}
}

// A name that leads nowhere now is no mistake of the person: the other servers are probed.
func TestProbeUnknownName(t *testing.T) {
	c := probeCommand{Server: []string{"192.0.2.1", "host.invalid"}, Timeout: time.Second, PermitIPv4: cli.Prefixes{netip.MustParsePrefix("192.0.2.0/24")}}
	got, err := c.servers(context.Background())
	if err != nil || got[0].Err != nil || got[1].Err == nil || !strings.Contains(got[1].Err.Error(), "host.invalid") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestProbeTimeoutFlag(t *testing.T) {
	for _, timeout := range []time.Duration{-1, 0, time.Millisecond, time.Hour} {
		err := (&probeCommand{Server: []string{"192.0.2.1"}, Timeout: timeout}).Run(context.Background(), nil)
		if err == nil || !strings.Contains(err.Error(), "--timeout") {
			t.Errorf("%v: %v", timeout, err)
		}
	}
}

// What is written to nobody is lost with an error.
func TestProbePrint(t *testing.T) {
	closed := errors.New("closed")
	for _, json := range []bool{false, true} {
		if err := (&probeCommand{JSON: json}).print(failingWriter{closed}, &probe.Report{}); !errors.Is(err, closed) {
			t.Errorf("json %v: %v", json, err)
		}
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
