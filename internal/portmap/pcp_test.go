package portmap

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// unhex reads bytes in hex, with spaces anywhere.
func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// exchanges is a UDP port that gives the answers of a table, and notes what it was asked.
type exchanges struct {
	mu    sync.Mutex
	asked [][]byte
}

// script has the fake's port 5351 give an answer to each kind of request, by its first two bytes in hex.
func (f *fake) script(answers map[string][][]byte) *exchanges {
	f.t.Helper()
	var e exchanges
	f.listen(pcpPort, func(request []byte) [][]byte {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.asked = append(e.asked, request)
		if len(request) < 2 {
			return nil
		}
		return answers[hex.EncodeToString(request[:2])]
	})
	return &e
}

// requests lists what was asked.
func (e *exchanges) requests() [][]byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.asked)
}

// has reports whether a request was made.
func (e *exchanges) has(request []byte) bool {
	return slices.ContainsFunc(e.requests(), func(b []byte) bool { return bytes.Equal(b, request) })
}

const (
	client = "00000000 00000000 0000ffff 7f000001" // 127.0.0.1
	nonce  = "6162636465666768696a6b6c"
	// The gateway's answer, as Debian's miniupnpd has it.
	pcpAnnounced = "02 80 00 00 00000000 00000007 000000000000000000000000"
	pcpMapped    = "02 81 00 00 00000e10 00000007 000000000000000000000000" + nonce + "11 000000 9c40 a028 00000000 00000000 0000ffff c6336407"
)

// Known answers for RFC 6887 §7, §11 and §15.
func TestPCP(t *testing.T) {
	f := newFake(t)
	e := f.script(map[string][][]byte{"0200": {unhex(t, pcpAnnounced)}, "0201": {unhex(t, pcpMapped)}})
	ctx := within(t, time.Minute)
	s, err := findPCP(ctx, f.gateway())
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.add(ctx)
	want := Mapping{Protocol: "pcp", External: netip.MustParseAddrPort("198.51.100.7:41000"), Lease: time.Hour}
	if err != nil || m != want {
		t.Errorf("mapping %v, %v, want %v", m, err, want)
	}
	if err := s.remove(ctx, s.record()); err != nil {
		t.Error(err)
	}
	for name, request := range map[string]string{
		"announce": "02 00 0000 00000000" + client,
		"map":      "02 01 0000 00001c20" + client + nonce + "11 000000 9c40 9c40 00000000 00000000 0000ffff 00000000",
		"unmap":    "02 01 0000 00000000" + client + nonce + "11 000000 9c40 9c40 00000000 00000000 0000ffff 00000000",
	} {
		if !e.has(unhex(t, request)) {
			t.Errorf("no request: %s", name)
		}
	}
}

// A record of another nonce is removed with that nonce; one of no use is forgotten.
func TestPCPRemoveStale(t *testing.T) {
	f := newFake(t)
	g := f.gateway()
	other := strings.ReplaceAll(nonce, "61", "ff")
	e := f.script(map[string][][]byte{"0201": {unhex(t, strings.ReplaceAll(pcpMapped, nonce, other))}})
	ctx := within(t, time.Minute)
	if err := (pcp{g}).remove(ctx, record{Internal: g.internal, Nonce: other}); err != nil {
		t.Error(err)
	}
	if !e.has(unhex(t, "02 01 0000 00000000"+client+other+"11 000000 9c40 9c40 00000000 00000000 0000ffff 00000000")) {
		t.Error("no request")
	}
	for _, r := range []record{{}, {Nonce: "00"}, {Nonce: "junk"}} {
		if err := (pcp{g}).remove(ctx, r); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
}

// What a gateway answers to MAP that is no mapping, or that is not about ours and has no effect.
func TestPCPAnswers(t *testing.T) {
	edit := func(from, to string) string { return strings.Replace(pcpMapped, from, to, 1) }
	const none = "no answer"
	for name, test := range map[string]struct{ answer, want string }{
		"the right one":       {pcpMapped, ""},
		"longer":              {pcpMapped + "02000000", ""},
		"not authorized":      {edit("02 81 00 00", "02 81 00 02"), "not authorized"},
		"no resources, short": {"02 81 00 08 00000e10 00000007 000000000000000000000000", "no resources"},
		"unknown result":      {edit("02 81 00 00", "02 81 00 ff"), "result code 255"},
		"NAT-PMP only":        {"00 81 00 01 00000007", "NAT-PMP instead"},
		"request":             {edit("02 81", "02 01"), none},
		"other opcode":        {edit("02 81", "02 80"), none},
		"other version":       {edit("02 81", "03 81"), none},
		"other nonce":         {edit(nonce, strings.ReplaceAll(nonce, "61", "62")), none},
		"other protocol":      {edit("11 000000", "06 000000"), none},
		"other port":          {edit("9c40", "9c41"), none},
		"no header":           {"02 80 00 00 00000000 00000007 00000000000000000000", none},
		"cut":                 {pcpMapped[:len(pcpMapped)-2], "59 bytes"},
		"no lifetime":         {edit("00000e10", "00000000"), "no lifetime"},
		"no external port":    {edit("a028", "0000"), "no port"},
		"no external address": {edit("c6336407", "00000000"), "0.0.0.0 is unusable"},
		"IPv6":                {edit("0000ffff c6336407", "00000000 c6336407"), "::c633:6407 is unusable"},
		"empty":               {"", none},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.script(map[string][][]byte{"0201": {unhex(t, test.answer)}})
			m, err := pcp{f.gateway()}.add(patient(t, test.want != none))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("mapping %v, error %v, want %q", m, err, test.want)
			}
		})
	}
}

// patient is a context for one who expects an answer, or who does not.
func patient(t *testing.T, answered bool) context.Context {
	if answered {
		return within(t, time.Minute)
	}
	return within(t, 100*time.Millisecond)
}

// A mapping that the gateway has certainly not made is told from one that it may have made.
func TestPCPRefusal(t *testing.T) {
	f := newFake(t)
	f.script(map[string][][]byte{"0201": {unhex(t, strings.Replace(pcpMapped, "02 81 00 00", "02 81 00 08", 1))}})
	if _, err := (pcp{f.gateway()}).add(within(t, time.Minute)); !errors.As(err, new(refusal)) {
		t.Errorf("refused with %v", err)
	}
	silent := newFake(t)
	silent.addr = silent.addr.Next()
	silent.listen(pcpPort, func([]byte) [][]byte { return nil })
	if _, err := (pcp{silent.gateway()}).add(within(t, 50*time.Millisecond)); err == nil || errors.As(err, new(refusal)) {
		t.Errorf("silent: %v", err)
	}
}

// Some gateways speak PCP but do not know the announcement; some speak another version.
func TestFindPCP(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		ok     bool
	}{
		"announced":           {pcpAnnounced, true},
		"unsupported opcode":  {strings.Replace(pcpAnnounced, "02 80 00 00", "02 80 00 04", 1), true},
		"unsupported version": {strings.Replace(pcpAnnounced, "02 80 00 00", "02 80 00 01", 1), false},
		"NAT-PMP":             {"00 80 00 01 00000000", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.script(map[string][][]byte{"0200": {unhex(t, test.answer)}})
			if _, err := findPCP(within(t, time.Minute), f.gateway()); (err == nil) != test.ok {
				t.Errorf("found: %v", err)
			}
		})
	}
}

// A closed port is known at once, without waiting for the end.
func TestNobodyListens(t *testing.T) {
	f := newFake(t)
	for _, find := range []func(context.Context, gateway) (service, error){findPCP, findNATPMP} {
		if s, err := find(within(t, time.Hour), f.gateway()); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("found %v, %v", s, err)
		}
	}
}

// A lost request is repeated.
func TestRepetition(t *testing.T) {
	f := newFake(t)
	var n int
	f.listen(pcpPort, func([]byte) [][]byte {
		if n++; n < 2 {
			return nil
		}
		return [][]byte{unhex(t, pcpAnnounced)}
	})
	if _, err := findPCP(within(t, time.Minute), f.gateway()); err != nil {
		t.Error(err)
	}
}

// An end of the program ends a exchange at once.
func TestConversationEnds(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(context.Background())
	f.listen(pcpPort, func([]byte) [][]byte {
		cancel()
		return nil
	})
	if _, err := findPCP(ctx, f.gateway()); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}
