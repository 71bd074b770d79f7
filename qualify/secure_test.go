package qualify_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// ST-C-02
func TestNewRefusesSecrets(t *testing.T) {
	tests := []struct {
		name, id, secret, want string
	}{
		{"neither", "", "", ""},
		{"both", "laptop", "s3cret", ""},
		{"no identifier", "", "s3cret", "there is a secret, but no client identifier"},
		{"no secret", "laptop", "", `client "laptop" has no secret`},
		{"longest identifier", strings.Repeat("x", 255), "s3cret", ""},
		{"W-AUTH-01: identifier too long", strings.Repeat("x", 256), "s3cret", "the client identifier has 256 bytes; the maximum is 255"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := qualify.New(qualify.Config{Server: server1, Filter: lab(), ClientID: []byte(tt.id), Secret: []byte(tt.secret)})
			if err == nil && tt.want != "" || err != nil && err.Error() != tt.want {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

// W-AUTH-03, W-AUTH-04, C-SEC-01: the vector of an authenticated solicitation.
func TestSecureSolicitationVector(t *testing.T) {
	m, err := qualify.New(qualify.Config{
		Server: server1, Filter: lab(), ClientID: []byte("client1"), Secret: []byte("teredo-secret"),
		Rand: func(b []byte) { copy(b, []byte{1, 2, 3, 4, 5, 6, 7, 8}) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var out teredo.Outbox
	m.Start(epoch, &out)
	const want = "00010714" + "636c69656e7431" + "eab4568dc73d431fc6c28a033d6223a84a86245f" + "0102030405060708" + "00" +
		"6000000000083afffe800000000000000000ffffffffffffff02000000000000000000000000000285007d3700000000"
	if got := hex.EncodeToString(out.Datagrams()[0].Payload); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
}

// World's checks of each solicitation see to C-SEC-01 and W-AUTH-03 in every phase.
func TestSecureQualification(t *testing.T) {
	w := newWorld(t, secure)
	w.qualify(mapped)
	if s := w.status(); s.NAT != qualify.Restricted || s.Mapped != mapped {
		t.Errorf("status %+v", s)
	}
	w.answer(w.single(w.tick()), moved) // C-MNT-02, C-MNT-04
	if s := w.expect(qualify.Qualified); s.Mapped != moved {
		t.Errorf("status %+v", s)
	}
	if n := len(w.nonces()); n != 3 {
		t.Errorf("C-SEC-01: %d nonces in three exchanges", n)
	}
}

// insecure are advertisements that do not prove that their sender has the secret.
var insecure = []struct {
	name  string
	forge func(a *advert)
	want  error
}{
	{"C-SEC-02: no authentication", func(a *advert) { a.auth = nil }, qualify.ErrUnsigned},
	{"nonce alone, as from a server without secrets", func(a *advert) { a.auth.ClientID, a.secret = nil, "" }, qualify.ErrUnsigned},
	{"no value", func(a *advert) { a.secret = "" }, qualify.ErrUnsigned},
	{"C-SEC-02: replayed, another nonce", func(a *advert) { a.auth.Nonce[0] ^= 1 }, qualify.ErrNonce},
	{"C-SEC-03: another secret", func(a *advert) { a.secret = "teredo-secreT" }, qualify.ErrAuthValue},
	{"C-SEC-03: value too short", cut(func(p *teredo.Packet) { p.Auth.Value = p.Auth.Value[:19] }), qualify.ErrAuthValue},
	{"C-SEC-03: value too long", cut(func(p *teredo.Packet) { p.Auth.Value = append(bytes.Clone(p.Auth.Value), 0) }), qualify.ErrAuthValue},
	{"W-AUTH-03: another confirmation byte", cut(func(p *teredo.Packet) { p.Auth.Confirmation ^= 1 }), qualify.ErrAuthValue},
	{"W-AUTH-03: another origin", cut(func(p *teredo.Packet) { p.Origin = moved }), qualify.ErrAuthValue},
	{"W-AUTH-03: origin taken away", cut(func(p *teredo.Packet) { p.Origin = netip.AddrPort{} }), qualify.ErrAuthValue},
	{"W-AUTH-03: another packet", cut(func(p *teredo.Packet) { p.IPv6[95] ^= 1 }), qualify.ErrAuthValue},
	{"C-SEC-05: another identifier", func(a *advert) { a.auth.ClientID = []byte("client2") }, qualify.ErrClientID},
	{"C-SEC-05: part of the identifier", func(a *advert) { a.auth.ClientID = []byte("client") }, qualify.ErrClientID},
	{"signed, but without origin", func(a *advert) { a.origin = netip.AddrPort{} }, qualify.ErrNoOrigin},
	{"signed, but another prefix", func(a *advert) { a.prefix = server2 }, qualify.ErrPrefix},
}

// cut changes an advertisement after it was signed.
func cut(tamper func(*teredo.Packet)) func(*advert) {
	return func(a *advert) { a.tamper = tamper }
}

func TestSecureForgeries(t *testing.T) {
	for _, tt := range insecure {
		t.Run("primary/"+tt.name, func(t *testing.T) {
			w := newWorld(t, secure)
			checkRefused(t, w, w.start(), tt.forge, tt.want)
		})
		t.Run("secondary/"+tt.name, func(t *testing.T) {
			w := newWorld(t, secure)
			checkRefused(t, w, w.single(w.answer(w.start(), mapped)), tt.forge, tt.want)
		})
		t.Run("maintenance/"+tt.name, func(t *testing.T) {
			w := newWorld(t, secure)
			w.qualify(mapped)
			checkRefused(t, w, w.single(w.tick()), tt.forge, tt.want)
			w.expect(qualify.Qualified)
		})
	}
}

// W-AUTH-03, A-17, A-18: the value is HMAC-SHA1 over nonce, confirmation, origin as received and packet, computed here by
// hand from RFC 2104.
func TestAuthValueByHand(t *testing.T) {
	w := newWorld(t, secure)
	s := w.start()
	ipv6 := teredo.AppendRouterAdvertisement(nil, server1, teredo.ClientLinkLocal(false, netip.AddrPort{}))
	origin := []byte{0, 0, ^byte(40000 >> 8), 0xff ^ 40000&0xff, ^byte(203), ^byte(0), ^byte(113), ^byte(5)}
	inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
	for i, b := range []byte("teredo-secret") {
		inner[i] ^= b
		outer[i] ^= b
	}
	digest := sha1.Sum(bytes.Join([][]byte{inner, s.nonce[:], {0}, origin, ipv6}, nil))
	value := sha1.Sum(append(outer, digest[:]...))

	payload := bytes.Join([][]byte{{0, 1, 7, 20}, []byte("client1"), value[:], s.nonce[:], {0}, origin, ipv6}, nil)
	var p teredo.Packet
	if err := p.Parse(payload); err != nil {
		t.Fatal(err)
	}
	if err := w.m.Inbound(w.now, s.to, &p, &w.out); err != nil {
		t.Error(err)
	}
}

// What a client can tell of each of these is in its status, in a sentence.
func TestSecureStatus(t *testing.T) {
	tests := []struct {
		name  string
		forge func(a *advert) // nil: the server says nothing
		want  string
	}{
		{"wrong secret at the server's own check", nil, // S-RX-04
			`server 192.0.2.1:3544 does not answer (3 attempts); check that the server has the same secret for client "client1", ` +
				"for it drops what it cannot authenticate; then its address, and that this network lets UDP out to port 3544"},
		{"wrong secret at ours", func(a *advert) { a.secret = "guess" },
			"server 192.0.2.1:3544 does not answer with a valid router advertisement (3 attempts): " +
				"router advertisement from 192.0.2.1:3544 refused: its authentication value is wrong: it is forged, or the server has another secret"},
		{"replayed", func(a *advert) { a.auth.Nonce = [8]byte{1} },
			"server 192.0.2.1:3544 does not answer with a valid router advertisement (3 attempts): " +
				"router advertisement from 192.0.2.1:3544 refused: its nonce is not the one sent"},
		{"server without secrets", func(a *advert) { a.auth.ClientID, a.secret = nil, "" },
			"server 192.0.2.1:3544 does not answer with a valid router advertisement (3 attempts): " +
				"router advertisement from 192.0.2.1:3544 refused: the server does not do secure qualification; if that is right, configure no secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, secure)
			s := w.start()
			if tt.forge != nil {
				a := valid(s, mapped)
				tt.forge(&a)
				if w.deliver(a) == nil {
					t.Fatal("accepted")
				}
			}
			w.expire()
			if got := w.expect(qualify.Offline).LastError; got != tt.want {
				t.Errorf("LastError = %q, want %q", got, tt.want)
			}
		})
	}
}

// The same when the secret was right before.
func TestSecretLost(t *testing.T) {
	w := newWorld(t, secure)
	w.qualify(mapped)
	w.single(w.tick())
	w.lose()
	want := "server 192.0.2.1:3544 has stopped answering (3 attempts); the Teredo address is withdrawn; " +
		`perhaps it has another secret for client "client1" now`
	if got := w.expect(qualify.Offline).LastError; got != want {
		t.Errorf("LastError = %q, want %q", got, want)
	}
}

// confirm answers with this confirmation byte.
func (w *world) confirm(s solicitation, confirmation byte) error {
	w.t.Helper()
	a := valid(s, mapped)
	a.auth.Confirmation = confirmation
	return w.deliver(a)
}

// C-SEC-04, A-25: an authentic answer that says that the key is no longer valid ends the service, and tells what to do.
func TestConfirmation(t *testing.T) {
	const want = `the server says that the key of client "client1" is no longer valid: get a new one`
	refused := func(t *testing.T, w *world, s solicitation, confirmation byte) {
		t.Helper()
		if err := w.confirm(s, confirmation); err != qualify.ErrKeyInvalid {
			t.Fatalf("error %v", err)
		}
		if s := w.expect(qualify.Offline); s.LastError != want || s.Refused.Err != qualify.ErrKeyInvalid || s.Address.IsValid() {
			t.Errorf("status %+v", s)
		}
	}
	for _, confirmation := range []byte{1, 255} {
		w := newWorld(t, secure)
		refused(t, w, w.start(), confirmation)
		w.qualify(mapped)
		refused(t, w, w.single(w.tick()), confirmation) // in maintenance
	}
	t.Run("from one who has not the secret", func(t *testing.T) {
		w := newWorld(t, secure)
		a := valid(w.start(), mapped)
		a.auth.Confirmation, a.secret = 1, "guess"
		if err := w.deliver(a); err != qualify.ErrAuthValue {
			t.Errorf("error %v", err)
		}
		w.expect(qualify.Starting)
	})
	t.Run("without a secret there is no key", func(t *testing.T) {
		w := newWorld(t)
		if err := w.confirm(w.start(), 1); err != nil {
			t.Errorf("error %v", err)
		}
	})
}

func TestSetSecret(t *testing.T) {
	set := func(w *world, id, secret string) []solicitation {
		w.t.Helper()
		if err := w.m.SetSecret(w.now, []byte(id), []byte(secret), &w.out); err != nil {
			w.t.Fatal(err)
		}
		w.id, w.secret = id, secret
		return w.collect()
	}
	t.Run("while qualified", func(t *testing.T) {
		w := newWorld(t, secure)
		w.qualify(mapped)
		address := w.status().Address
		s := w.single(set(w, "client2", "another secret"))
		if s.to != port3544(server1) || w.status().State != qualify.Qualified {
			t.Errorf("asks %v, status %+v", s.to, w.status())
		}
		w.answer(s, mapped)
		if got := w.expect(qualify.Qualified).Address; got != address {
			t.Errorf("address %v, was %v", got, address)
		}
	})
	t.Run("the old answer does not count", func(t *testing.T) {
		w := newWorld(t, secure)
		old := w.start()
		s := w.single(set(w, "client1", "new secret"))
		if err := w.deliver(valid(old, mapped)); !errors.Is(err, qualify.ErrNonce) {
			t.Errorf("error %v", err)
		}
		w.answer(w.single(w.answer(s, mapped)), mapped)
		w.expect(qualify.Qualified)
	})
	t.Run("ends the wait of one who is off-line", func(t *testing.T) {
		w := newWorld(t, secure)
		w.start()
		w.expire()
		w.single(set(w, "client1", "new secret"))
		if s := w.expect(qualify.Starting); s.LastError != "" {
			t.Errorf("LastError = %q of the old secret", s.LastError)
		}
	})
	t.Run("before Start", func(t *testing.T) {
		w := newWorld(t)
		if got := set(w, "client1", "secret"); len(got) != 0 {
			t.Errorf("C-QUAL-01: sent %v", got)
		}
		w.start()
	})
	t.Run("taken away", func(t *testing.T) {
		w := newWorld(t, secure)
		w.qualify(mapped)
		w.answer(w.single(set(w, "", "")), mapped)
		w.expect(qualify.Qualified)
	})
	t.Run("impossible", func(t *testing.T) {
		w := newWorld(t, secure)
		w.qualify(mapped)
		if err := w.m.SetSecret(w.now, []byte("client1"), nil, &w.out); err == nil || len(w.collect()) != 0 {
			t.Errorf("error %v", err)
		}
		w.answer(w.single(w.tick()), mapped) // with the old one
	})
}
