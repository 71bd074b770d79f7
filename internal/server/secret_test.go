package server

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

var (
	secret  = []byte("teredo-secret")
	nonce   = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}
	expiry  = time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	longKey = bytes.Repeat([]byte("long "), 30) // longer than a block of SHA-1
)

// labSecrets are secrets at this time.
func labSecrets(now time.Time) *Secrets {
	return NewSecrets([]Secret{
		{ClientID: "client1", Key: secret},
		{ClientID: "client2", Key: longKey},
		{ClientID: "expiring", Key: secret, Expires: expiry},
	}, func() time.Time { return now })
}

func secureConfig(now time.Time) Config {
	cfg := labConfig()
	cfg.Secrets = labSecrets(now)
	return cfg
}

// signed is a router solicitation with its authentication.
func signed(id string, key []byte, solicitation []byte) []byte {
	value := teredo.AuthValue(key, nonce, 0, netip.AddrPort{}, solicitation)
	return join(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte(id), Value: value[:], Nonce: nonce}), solicitation)
}

// authentic parses an answer and checks its authentication, by the standard library's HMAC.
func authentic(t *testing.T, v Verdict, id string, key []byte) teredo.Packet {
	t.Helper()
	if v.Action != Send || v.Kind != Solicitation {
		t.Fatalf("got %+v", v)
	}
	var p teredo.Packet
	if err := p.Parse(v.Payload); err != nil {
		t.Fatal(err)
	}
	if string(p.Auth.ClientID) != id || p.Auth.Nonce != nonce {
		t.Errorf("S-RS-06: identifier %q, nonce %x", p.Auth.ClientID, p.Auth.Nonce)
	}
	want := teredo.AuthValue(key, p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6)
	if !bytes.Equal(p.Auth.Value, want[:]) {
		t.Errorf("W-AUTH-03: value %x, want %x", p.Auth.Value, want)
	}
	return p
}

// S-RS-06, W-AUTH-03, W-AUTH-04: the vectors of an authenticated solicitation and its answer, byte by byte.
func TestSecureAdvertisementBytes(t *testing.T) {
	cfg := Config{Primary: netip.MustParseAddr("203.0.113.120"), Filter: labFilter(), Secrets: labSecrets(expiry)}
	solicitation := unhex(t, "00010714"+"636c69656e7431"+"eab4568dc73d431fc6c28a033d6223a84a86245f"+"0102030405060708"+"00"+
		"6000000000083afffe800000000000000000ffffffffffffff02000000000000000000000000000285007d3700000000")
	want := unhex(t, "00010714"+"636c69656e7431"+"a721577498a4e5ab1dc86ca4af0eac7d694daa8f"+"0102030405060708"+"00"+
		"0000efff3ffffdfe"+
		"6000000000383afffe800000000000008000f22734ff8e87fe800000000000000000ffffffffffff"+
		"86009d1c000000000000000000000000"+
		"03044040ffffffffffffffff0000000020010000cb0071780000000000000000"+
		"0501000000000500")
	v := handle(newHandler(t, cfg), input{from: netip.MustParseAddrPort("192.0.2.1:4096"), payload: solicitation})
	if v.Action != Send || !bytes.Equal(v.Payload, want) {
		t.Errorf("got %+v\n%x, want\n%x", v, v.Payload, want)
	}
}

// S-RX-04: without the right authentication there is no answer.
func TestSecureRefusals(t *testing.T) {
	h := newHandler(t, secureConfig(expiry.Add(-1)))
	good := signed("client1", secret, rs(solicitor))
	const valueAt = 4 + len("client1")
	value := good[valueAt : valueAt+20]
	withValue := func(value []byte) []byte {
		return join(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1"), Value: value, Nonce: nonce}), rs(solicitor))
	}
	for name, payload := range map[string][]byte{
		"no authentication":         rs(solicitor),
		"nonce alone":               join(nonceAuth(), rs(solicitor)),
		"identifier alone":          withValue(nil),
		"unknown identifier":        signed("client3", secret, rs(solicitor)),
		"no identifier":             signed("", secret, rs(solicitor)),
		"another client's secret":   signed("client2", secret, rs(solicitor)),
		"wrong secret":              signed("client1", []byte("guess"), rs(solicitor)),
		"empty secret":              signed("client1", nil, rs(solicitor)),
		"value truncated":           withValue(value[:12]),
		"value continued":           withValue(append(bytes.Clone(value), 0)),
		"value changed":             with(good, valueAt+19, good[valueAt+19]^1),
		"nonce changed":             with(good, valueAt+20, 0xff),
		"confirmation changed":      with(good, valueAt+28, 1),
		"origin added":              join(good[:valueAt+29], origin(mappedA), rs(solicitor)),
		"cone bit changed":          join(good[:valueAt+29], rs(coneSolicitor)),
		"signature of another file": signed("client1", []byte("teredo-secret\n"), rs(solicitor)),
	} {
		for _, local := range []int{Primary, Secondary} {
			v := handle(h, input{local, mappedA, payload})
			if v.Action != Drop || v.Reason != drop.Unauthenticated || v.Kind != Solicitation {
				t.Errorf("%s at %d: %+v", name, local, v)
			}
		}
	}
	// What is wrong with the solicitation itself has its own reason.
	if v := handle(h, input{from: mappedA, payload: signed("client1", secret, with(rs(solicitor), hopLimitAt, 64))}); v.Reason != drop.Solicitation {
		t.Errorf("hop limit 64: %+v", v)
	}
}

func TestSecureAnswers(t *testing.T) {
	h := newHandler(t, secureConfig(expiry.Add(-1)))
	for name, tt := range map[string]struct {
		local   int
		id      string
		key     []byte
		payload []byte
		from    int
	}{
		"S-RS-06 primary":   {Primary, "client1", secret, signed("client1", secret, rs(solicitor)), Primary},
		"S-RS-06 secondary": {Secondary, "client1", secret, signed("client1", secret, rs(solicitor)), Secondary},
		"S-RS-03 cone":      {Primary, "client1", secret, signed("client1", secret, rs(coneSolicitor)), Secondary},
		"a long secret":     {Primary, "client2", longKey, signed("client2", longKey, rs(solicitor)), Primary},
		"W-AUTH-04 trailers are not covered": {Primary, "client1", secret,
			teredo.AppendNonceTrailer(signed("client1", secret, rs(solicitor)), [4]byte{1, 2, 3, 4}), Primary},
	} {
		t.Run(name, func(t *testing.T) {
			in := input{tt.local, mappedA, tt.payload}
			v := handle(h, in)
			p := authentic(t, v, tt.id, tt.key)
			if v.Local != tt.from || p.Origin != mappedA || p.Auth.Confirmation != 0 {
				t.Errorf("from %d, origin %v, confirmation %d", v.Local, p.Origin, p.Auth.Confirmation)
			}
			if more := len(v.Payload) - len(in.payload); more > 56 { // SEC-NOAMP-01
				t.Errorf("%d bytes for %d", len(v.Payload), len(in.payload))
			}
		})
	}
}

// S-RX-04 is about solicitations: clients that have qualified send the rest as ever.
func TestSecureOtherPackets(t *testing.T) {
	h := newHandler(t, secureConfig(expiry))
	v := handle(h, input{from: mappedA, payload: bubble(clientA, clientB)})
	if v.Action != Send || !bytes.Equal(v.Payload, join(origin(mappedA), bubble(clientA, clientB))) {
		t.Errorf("got %+v", v)
	}
}

// S-RS-06, A-25: the answer to one whose key has expired is authentic, and says so.
func TestExpiry(t *testing.T) {
	for at, want := range map[time.Duration]byte{-time.Nanosecond: 0, 0: 1, time.Hour: 1} {
		h := newHandler(t, secureConfig(expiry.Add(at)))
		p := authentic(t, handle(h, input{from: mappedA, payload: signed("expiring", secret, rs(solicitor))}), "expiring", secret)
		if p.Auth.Confirmation != want {
			t.Errorf("%v after the expiry: confirmation %d, want %d", at, p.Auth.Confirmation, want)
		}
		p = authentic(t, handle(h, input{from: mappedA, payload: signed("client1", secret, rs(solicitor))}), "client1", secret)
		if p.Auth.Confirmation != 0 {
			t.Errorf("a key without expiry: confirmation %d", p.Auth.Confirmation)
		}
	}
}

// Secrets change while the handler is in use.
func TestSetSecrets(t *testing.T) {
	h := newHandler(t, labConfig())
	nonceOnly := input{from: mappedA, payload: join(nonceAuth(), rs(solicitor))}
	old := input{from: mappedA, payload: signed("client1", secret, rs(solicitor))}
	answered := func(in input) bool { return handle(h, in).Action == Send }
	if !answered(nonceOnly) || !answered(old) {
		t.Error("without secrets not everybody is answered")
	}
	h.SetSecrets(labSecrets(expiry))
	if answered(nonceOnly) || !answered(old) {
		t.Error("secrets do not count")
	}
	h.SetSecrets(NewSecrets([]Secret{{ClientID: "client1", Key: []byte("another")}}, time.Now))
	if answered(old) || !answered(input{from: mappedA, payload: signed("client1", []byte("another"), rs(solicitor))}) {
		t.Error("new secrets do not count")
	}
	h.SetSecrets(NewSecrets(nil, time.Now))
	if answered(old) || answered(nonceOnly) {
		t.Error("somebody is answered though nobody has a secret")
	}

	h.SetSecrets(labSecrets(expiry))
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for range 1000 {
				if !answered(old) {
					t.Error("not answered while the secrets change")
					return
				}
			}
		})
	}
	workers.Go(func() {
		for range 1000 {
			h.SetSecrets(labSecrets(expiry))
		}
	})
	workers.Wait()
}

// The values are those of the standard library's HMAC, whatever the secret and the packet.
func TestKeyValue(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	for i := range 300 {
		secret, packet := random(i), random(r.IntN(teredo.MTU+1))
		n, confirmation := [8]byte(random(8)), byte(i)
		from := mappedA
		if i%2 == 0 {
			from = netip.AddrPort{}
		}
		got := NewSecrets([]Secret{{ClientID: "x", Key: secret}}, nil).keys["x"].value(n, confirmation, from, packet)
		if want := teredo.AuthValue(secret, n, confirmation, from, packet); got != want {
			t.Fatalf("secret of %d bytes, packet of %d: %x, want %x", len(secret), len(packet), got, want)
		}
	}
}

func TestSecureHandleAllocatesNothing(t *testing.T) {
	h := newHandler(t, secureConfig(expiry))
	buf := make([]byte, 0, MaxOutput)
	for name, in := range securePaths() {
		if n := testing.AllocsPerRun(100, func() { h.Handle(in.local, in.from, in.payload, buf) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func securePaths() map[string]input {
	return map[string]input{
		"authentic":       {from: mappedA, payload: signed("client1", secret, rs(solicitor))},
		"expired":         {from: mappedA, payload: signed("expiring", secret, rs(solicitor))},
		"wrong secret":    {from: mappedA, payload: signed("client1", longKey, rs(solicitor))},
		"unknown":         {from: mappedA, payload: signed("nobody", secret, rs(solicitor))},
		"unauthenticated": {from: mappedA, payload: rs(solicitor)},
	}
}

func BenchmarkHandleSecure(b *testing.B) {
	h := newHandler(b, secureConfig(expiry))
	buf := make([]byte, 0, MaxOutput)
	for _, name := range []string{"authentic", "wrong secret", "unauthenticated"} {
		in := securePaths()[name]
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Handle(in.local, in.from, in.payload, buf)
			}
		})
	}
}

func TestStatusOfSecureServer(t *testing.T) {
	s := newServer(labConfig(), newHandler(t, labConfig()), [][]conn{make([]conn, 2)}, nil, nil)
	if n := s.Status().SecureClients; n != 0 {
		t.Errorf("%d clients with a secret, and secrets are not configured", n)
	}
	s.SetSecrets(labSecrets(expiry))
	if n := s.Status().SecureClients; n != 3 {
		t.Errorf("%d clients with a secret, want 3", n)
	}
}
