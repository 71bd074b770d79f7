package kernelpath

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

// sharedKeys are the secrets of clients, by identifier.
func sharedKeys() map[string][]byte {
	return map[string][]byte{
		"client1": []byte("teredo-secret"), "office": []byte("another secret"), "x": {},
		"block": bytes.Repeat([]byte("b"), 64), "long": bytes.Repeat([]byte("long "), 30),
		strings.Repeat("i", 63): []byte("longest here"), strings.Repeat("i", 64): []byte("too long here"),
		"expiring": []byte("teredo-secret"), "expired": []byte("teredo-secret"),
	}
}

func sharedSecrets() *server.Secrets {
	var list []server.Secret
	for client, key := range sharedKeys() {
		secret := server.Secret{ClientID: client, Key: key}
		switch client {
		case "expiring":
			secret.Expires = time.Now().Add(24 * time.Hour)
		case "expired":
			secret.Expires = time.Unix(0, 0)
		}
		list = append(list, secret)
	}
	return server.NewSecrets(list, time.Now)
}

func kernelSecrets(s *server.Secrets) map[string]Secret {
	if s == nil {
		return nil
	}
	secrets := make(map[string]Secret)
	for client, key := range s.All() {
		secrets[client] = Secret(key)
	}
	return secrets
}

// sign puts an authentication in front of a packet. Nonce and confirmation byte are those of a.
func sign(client string, a teredo.Auth, packet []byte) []byte {
	value := teredo.AuthValue(sharedKeys()[client], a.Nonce, a.Confirmation, netip.AddrPort{}, packet)
	a.ClientID, a.Value = []byte(client), value[:]
	return append(teredo.AppendAuth(nil, a), packet...)
}

// secretQuestions are those of questions for a server with secrets.
func secretQuestions() (certain, others map[string]question) {
	plain, cone := teredo.ClientLinkLocal(false, netip.AddrPort{}), teredo.ClientLinkLocal(true, clientAt)
	rs := func(src netip.Addr) []byte { return teredo.AppendRouterSolicitation(nil, src) }
	auth := teredo.Auth{Nonce: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	signed := func(client string) []byte { return sign(client, auth, rs(plain)) }
	good := signed("client1")
	const valueAt, packetAt = 4 + len("client1"), 4 + len("client1") + 20 + 9
	changed := func(b []byte, at int) []byte {
		b = slices.Clone(b)
		b[at] ^= 0x80
		return b
	}
	withValue := func(value []byte) []byte {
		return append(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1"), Value: value, Nonce: auth.Nonce}), rs(plain)...)
	}
	value := good[valueAt : valueAt+20]
	hops := rs(plain)
	hops[7]--

	certain = map[string]question{
		"signed":                              {from: clientAt, payload: good},
		"signed, secondary":                   {second: true, from: clientAt, payload: good},
		"signed, cone":                        {from: clientAt, payload: sign("client1", auth, rs(cone))},
		"signed, cone, secondary":             {second: true, from: clientAt, payload: sign("client1", auth, rs(cone))},
		"signed, even identifier":             {from: clientAt, payload: signed("office")},
		"signed, empty secret":                {from: clientAt, payload: signed("x")},
		"signed, secret of a block":           {from: clientAt, payload: signed("block")},
		"signed, long secret":                 {from: otherAt, payload: signed("long")},
		"signed, longest identifier":          {from: clientAt, payload: signed(strings.Repeat("i", 63))},
		"signed, expiring":                    {from: clientAt, payload: signed("expiring")},
		"signed, confirmation":                {from: clientAt, payload: sign("client1", teredo.Auth{Nonce: auth.Nonce, Confirmation: 9}, rs(plain))},
		"signed, private":                     {from: netip.MustParseAddrPort("10.1.2.3:4096"), payload: good},
		"signed, a neighbor at our address":   {from: netip.MustParseAddrPort("192.0.2.1:4096"), payload: good},
		"signed, hop limit":                   {from: clientAt, payload: sign("client1", auth, hops)},
		"signed, from a global address":       {from: clientAt, payload: sign("client1", auth, rs(netip.MustParseAddr("2001:db8:6::1")))},
		"wrong value, but the hop limit also": {from: clientAt, payload: append(slices.Clone(good[:packetAt]), hops...)},
	}
	others = map[string]question{
		"unknown identifier":        {from: clientAt, payload: sign("nobody", auth, rs(plain))},
		"no identifier":             {from: clientAt, payload: sign("", auth, rs(plain))},
		"identifier of 64 bytes":    {from: clientAt, payload: signed(strings.Repeat("i", 64))},
		"identifier with a zero":    {from: clientAt, payload: append(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1\x00"), Value: value, Nonce: auth.Nonce}), rs(plain)...)},
		"another client's secret":   {from: clientAt, payload: append(teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("office"), Value: value, Nonce: auth.Nonce}), rs(plain)...)},
		"expired":                   {from: clientAt, payload: signed("expired")},
		"value truncated":           {from: clientAt, payload: withValue(value[:12])},
		"value continued":           {from: clientAt, payload: withValue(append(slices.Clone(value), 0))},
		"value empty":               {from: clientAt, payload: withValue(nil)},
		"first byte of the value":   {from: clientAt, payload: changed(good, valueAt)},
		"last byte of the value":    {from: clientAt, payload: changed(good, valueAt+19)},
		"nonce changed":             {from: clientAt, payload: changed(good, valueAt+20)},
		"confirmation changed":      {from: clientAt, payload: changed(good, valueAt+28)},
		"reserved bits changed":     {from: clientAt, payload: append(slices.Clone(good[:packetAt]), rs(cone)...)},
		"signed, trailer":           {from: clientAt, payload: teredo.AppendNonceTrailer(slices.Clone(good), [4]byte{1, 2, 3, 4})},
		"signed, origin":            {from: clientAt, payload: slices.Concat(good[:packetAt], teredo.AppendOrigin(nil, clientAt), good[packetAt:])},
		"signed, native option":     {from: clientAt, payload: sign("client1", auth, teredo.AppendNativeSolicitation(nil, plain))},
		"signed, truncated":         {from: clientAt, payload: good[:len(good)-1]},
		"signed, echo":              {from: clientAt, payload: sign("client1", auth, teredo.AppendEchoRequest(nil, plain, cone, 1, 2, nil))},
		"signed bubble":             {from: clientAt, payload: sign("client1", auth, teredo.AppendBubble(nil, plain, cone, 7))},
		"authentication of nothing": {from: clientAt, payload: good[:packetAt]},
	}
	return certain, others
}

// TestServerSigns has the kernel answer the solicitation of the worked vector as its advertisement says (W-AUTH-03, S-RS-06).
func TestServerSigns(t *testing.T) {
	vector := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "vectors", name+".hex"))
		must(t, err)
		var digits strings.Builder
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			digits.WriteString(strings.Join(strings.Fields(line), ""))
		}
		b, err := hex.DecodeString(digits.String())
		must(t, err)
		return b
	}
	cfg := twinConfig()
	cfg.Primary, cfg.Secondary, cfg.Secrets = netip.MustParseAddr("203.0.113.120"), netip.Addr{}, sharedSecrets()
	w := newTwins(t, cfg)
	q := question{from: netip.MustParseAddrPort("192.0.2.1:4096"), payload: vector("rs-auth")}
	want := vector("ra-auth-origin")
	for _, way := range w.kernel.ways() {
		code, answer := runProgram(t, way.program, w.frame(q).frame(), nil)
		if uint32(code) != way.send || !bytes.Equal(answer[headersLen:], want) {
			t.Errorf("%s: verdict %d, %x, want %x", way.name, code, answer, want)
		}
	}
}

// TestServerSecretsChange replaces the secrets while the server runs. The kernel answers nobody whom the program would refuse (S-RX-04).
func TestServerSecretsChange(t *testing.T) {
	w := newTwins(t, twinConfig())
	certain, _ := questions()
	signed, _ := secretQuestions()
	all := len(w.kernel.ways())
	change := func(s *server.Secrets) {
		must(t, w.kernel.SetSecrets(kernelSecrets(s)))
		w.handler.SetSecrets(s)
	}
	for _, step := range []struct {
		what                   string
		secrets                *server.Secrets
		nonce, client1, office int // at how many places the kernel decides
	}{
		{"none required", nil, all, 0, 0},
		{"required", sharedSecrets(), 0, all, all},
		{"one changed", server.NewSecrets([]server.Secret{
			{ClientID: "client1", Key: []byte("changed")}, {ClientID: "office", Key: sharedKeys()["office"]},
		}, time.Now), 0, 0, all},
		{"one removed", server.NewSecrets([]server.Secret{{ClientID: "client1", Key: sharedKeys()["client1"]}}, time.Now), 0, all, 0},
		{"expired meanwhile", server.NewSecrets([]server.Secret{
			{ClientID: "client1", Key: sharedKeys()["client1"], Expires: time.Now()}, {ClientID: "office", Key: sharedKeys()["office"]},
		}, time.Now), 0, 0, all},
		{"none left", server.NewSecrets(nil, time.Now), 0, 0, 0},
		{"required again", sharedSecrets(), 0, all, all},
		{"no longer required", nil, all, 0, 0},
	} {
		change(step.secrets)
		for name, want := range map[string]int{"nonce": step.nonce, "signed": step.client1, "signed, even identifier": step.office} {
			q, ok := certain[name]
			if !ok {
				q = signed[name]
			}
			if n := w.check(t, q); n != want {
				t.Errorf("%s: the kernel decides about %q at %d places, want %d", step.what, name, n, want)
			}
		}
	}
}
