package portmap

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The gateway's answers, as Debian's miniupnpd has them.
const (
	natpmpAddress = "00 80 0000 00000007 c6336407"
	natpmpMapped  = "00 81 0000 00000007 9c40 a028 00000e10"
)

// Known answers for RFC 6886 §3.2 to §3.4.
func TestNATPMP(t *testing.T) {
	f := newFake(t)
	e := f.script(map[string][][]byte{"0000": {unhex(t, natpmpAddress)}, "0001": {unhex(t, natpmpMapped)}})
	ctx := within(t, time.Minute)
	s, err := findNATPMP(ctx, f.gateway())
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.add(ctx)
	want := Mapping{Protocol: "nat-pmp", External: netip.MustParseAddrPort("198.51.100.7:41000"), Lease: time.Hour}
	if err != nil || m != want {
		t.Errorf("mapping %v, %v, want %v", m, err, want)
	}
	if err := s.remove(ctx, s.record()); err != nil {
		t.Error(err)
	}
	for name, request := range map[string]string{
		"address": "00 00", "map": "00 01 0000 9c40 9c40 00001c20", "unmap": "00 01 0000 9c40 0000 00000000",
	} {
		if !e.has(unhex(t, request)) {
			t.Errorf("no request: %s", name)
		}
	}
}

func TestNATPMPAnswers(t *testing.T) {
	edit := func(answer, from, to string) string { return strings.Replace(answer, from, to, 1) }
	const none = "no answer"
	for name, test := range map[string]struct{ address, mapped, want string }{
		"the right ones":   {natpmpAddress, natpmpMapped, ""},
		"private":          {edit(natpmpAddress, "c6336407", "0a000007"), natpmpMapped, ""},
		"no address":       {edit(natpmpAddress, "c6336407", "00000000"), natpmpMapped, "is unusable"},
		"network failure":  {"00 80 0003 00000007 00000000", natpmpMapped, "network failure"},
		"short address":    {natpmpAddress[:len(natpmpAddress)-2], natpmpMapped, "11 bytes"},
		"PCP only":         {"02 80 0001 00000007 00000000", natpmpMapped, none},
		"not authorized":   {natpmpAddress, edit(natpmpMapped, "0000", "0002"), "not authorized"},
		"unknown result":   {natpmpAddress, "00 81 0100", "result code 256"},
		"request":          {natpmpAddress, edit(natpmpMapped, "81", "01"), none},
		"other operation":  {natpmpAddress, edit(natpmpMapped, "81", "82"), none},
		"other port":       {natpmpAddress, edit(natpmpMapped, "9c40", "9c41"), "another port"},
		"no external port": {natpmpAddress, edit(natpmpMapped, "a028", "0000"), "no port"},
		"no lifetime":      {natpmpAddress, edit(natpmpMapped, "00000e10", "00000000"), "no lifetime"},
		"cut":              {natpmpAddress, natpmpMapped[:len(natpmpMapped)-2], "15 bytes"},
		"cut short":        {natpmpAddress, "00 81 00", none},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.script(map[string][][]byte{"0000": {unhex(t, test.address)}, "0001": {unhex(t, test.mapped)}})
			m, err := natpmp{f.gateway()}.add(patient(t, test.want != none))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("mapping %v, error %v, want %q", m, err, test.want)
			}
		})
	}
}
