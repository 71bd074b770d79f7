package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/tunnel"
)

func TestPingArguments(t *testing.T) {
	for address, want := range map[string]string{
		"2001:db8::1":                         "",
		"2001:0:c000:201:2c05:f227:39cc:9bfe": "",
		"host.example.net":                    "",
		"localhost":                           "",
		"192.0.2.1":                           "192.0.2.1 is an IPv4 address, and Teredo carries IPv6 packets: give an IPv6 address or a name",
		"fe80::1%eth0":                        "fe80::1 is an address of one link (%eth0): give a global IPv6 address",
		"2001:db8::1::":                       "is neither an IPv6 address",
		"[2001:db8::1]":                       "is neither an IPv6 address",
		"host.example.net:80":                 "is neither an IPv6 address",
		"":                                    "is neither an IPv6 address",
	} {
		err := (&pingCommand{Address: address, Count: 1}).Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	if err := (&pingCommand{Address: "2001:db8::1"}).Check(); err == nil {
		t.Error("it sends nothing")
	}
}

// The end tells what all requests together have brought.
func TestPingSummary(t *testing.T) {
	at := netip.MustParseAddrPort("198.51.100.7:3545")
	answer := func(rtt, found float64, path string) tunnel.PingResult {
		r := tunnel.PingResult{Sent: true, Answered: true, RTTMillis: rtt, FoundMillis: found, Path: path, Endpoint: at, CarriedBy: "kernel"}
		if path == "relay" {
			r.Relay = at
		}
		return r
	}
	results := []tunnel.PingResult{
		answer(20, 150, "relay"), answer(10, 0, "direct"), answer(60, 0, "local"),
		{Sent: true, Cause: tunnel.Unanswered, Reason: "It is silent."},
	}
	to := netip.MustParseAddr("2001:0:c000:201:2c05:f227:39cc:9bfe")
	for json, want := range map[bool]string{
		true: `{"seq":1,"rtt_ms":20,"path":"relay","relay":"198.51.100.7:3545","endpoint":"198.51.100.7:3545","carried_by":"kernel","found_ms":150}
{"seq":2,"rtt_ms":10,"path":"direct","relay":"","endpoint":"198.51.100.7:3545","carried_by":"kernel","found_ms":0}
{"seq":3,"rtt_ms":60,"path":"local","relay":"","endpoint":"198.51.100.7:3545","carried_by":"kernel","found_ms":0}
{"address":"2001:0:c000:201:2c05:f227:39cc:9bfe","sent":4,"received":3,"rtt_min_ms":10,"rtt_avg_ms":30,"rtt_max_ms":60,"cause":"unanswered","reason":"It is silent.","mapped":"198.51.100.1:3544","server":"192.0.2.1"}
`,
		false: `PING x.example (2001:0:c000:201:2c05:f227:39cc:9bfe), a Teredo client: mapped 198.51.100.1:3544, server 192.0.2.1
answer 1: 20.0 ms, through the relay 198.51.100.7:3545, packets carried by the kernel, path found in 150 ms
answer 2: 10.0 ms, directly from 198.51.100.7:3545, packets carried by the kernel
answer 3: 60.0 ms, on the same subnet at 198.51.100.7:3545, packets carried by the kernel
no answer 4: unanswered
4 sent, 3 answered; round trip at least 10.0, on average 30.0, at most 60.0 ms
It is silent.
`,
	} {
		var out strings.Builder
		s := pingSummary{Address: to, Decoded: cli.Decode(to)}
		p := printer{&out, json}
		p.begin("x.example", &s)
		for i, r := range results {
			s.add(&r)
			p.result(uint(i+1), &r)
		}
		p.end(&s)
		if out.String() != want {
			t.Errorf("got\n%s, want\n%s", out.String(), want)
		}
	}
	s := pingSummary{}
	s.add(&tunnel.PingResult{Cause: tunnel.OwnAddress})
	if s.Sent != 0 || s.Received != 0 {
		t.Errorf("%+v", s)
	}
}
