package teredo_test

import (
	"bytes"
	"crypto/hmac"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/teredo"
)

var secretNonce = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

const secret = "teredo-secret"

// W-AUTH-03, W-AUTH-04: the solicitation is signed without an origin indication.
func TestSecureSolicitationVector(t *testing.T) {
	want := vector(t, "rs-auth")
	rs := teredo.AppendRouterSolicitation(nil, teredo.ClientLinkLocal(false, netip.AddrPort{}))
	value := teredo.AuthValue([]byte(secret), secretNonce, 0, netip.AddrPort{}, rs)
	got := teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1"), Value: value[:], Nonce: secretNonce})
	got = append(got, rs...)
	wantBytes(t, "authenticated solicitation", got, want)
	if len(got) != 88 {
		t.Errorf("%d bytes", len(got))
	}
}

// W-AUTH-03, W-AUTH-04: the advertisement is signed with the origin indication.
func TestSecureAdvertisementVector(t *testing.T) {
	want := vector(t, "ra-auth-origin")
	origin := netip.MustParseAddrPort("192.0.2.1:4096")
	ra := teredo.AppendRouterAdvertisement(nil, netip.MustParseAddr("203.0.113.120"), netip.MustParseAddr("fe80::ffff:ffff:ffff"))
	value := teredo.AuthValue([]byte(secret), secretNonce, 0, origin, ra)
	got := teredo.AppendAuth(nil, teredo.Auth{ClientID: []byte("client1"), Value: value[:], Nonce: secretNonce})
	got = teredo.AppendOrigin(got, origin)
	got = append(got, ra...)
	wantBytes(t, "authenticated advertisement", got, want)
	if len(got) != 144 {
		t.Errorf("%d bytes", len(got))
	}
}

// The receiver's side: what was parsed verifies, and a change of anything that is covered does not.
func TestAuthValueCovers(t *testing.T) {
	var p teredo.Packet
	if err := p.Parse(append(vector(t, "ra-auth-origin"), 1, 0)); err != nil {
		t.Fatal(err)
	}
	verifies := func(key string, nonce [8]byte, confirmation byte, origin netip.AddrPort, ipv6 []byte) bool {
		value := teredo.AuthValue([]byte(key), nonce, confirmation, origin, ipv6)
		return hmac.Equal(value[:], p.Auth.Value)
	}
	if !verifies(secret, p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6) {
		t.Error("the vector does not verify")
	}
	otherPort := netip.AddrPortFrom(p.Origin.Addr(), p.Origin.Port()+1)
	for name, accepted := range map[string]bool{
		"secret":          verifies("guess", p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6),
		"nonce":           verifies(secret, [8]byte{1}, p.Auth.Confirmation, p.Origin, p.IPv6),
		"confirmation":    verifies(secret, p.Auth.Nonce, 1, p.Origin, p.IPv6),
		"origin":          verifies(secret, p.Auth.Nonce, p.Auth.Confirmation, otherPort, p.IPv6),
		"origin absent":   verifies(secret, p.Auth.Nonce, p.Auth.Confirmation, netip.AddrPort{}, p.IPv6),
		"packet":          verifies(secret, p.Auth.Nonce, p.Auth.Confirmation, p.Origin, rewrite(p.IPv6, 95, 1)),
		"trailer covered": verifies(secret, p.Auth.Nonce, p.Auth.Confirmation, p.Origin, append(p.IPv6, p.Trailers...)),
	} {
		if accepted {
			t.Errorf("verifies with another %s", name)
		}
	}
}

// W-AUTH-01, W-AUTH-02
func TestAuthRoundTrip(t *testing.T) {
	bubble := ipv6Packet(clientA, clientB, 59, 255, nil)
	for _, want := range []teredo.Auth{
		{ClientID: []byte{}, Value: []byte{}, Nonce: secretNonce},
		{ClientID: []byte("id"), Value: []byte{}, Confirmation: 1},
		{ClientID: []byte{}, Value: []byte("value"), Nonce: secretNonce},
		{ClientID: bytes.Repeat([]byte("i"), 255), Value: bytes.Repeat([]byte("v"), 255), Nonce: secretNonce, Confirmation: 255},
	} {
		b := teredo.AppendAuth(nil, want)
		if len(b) != 13+len(want.ClientID)+len(want.Value) {
			t.Errorf("%d bytes for %+v", len(b), want)
		}
		var p teredo.Packet
		if err := p.Parse(append(b, bubble...)); err != nil {
			t.Errorf("%v: %+v", err, want)
			continue
		}
		if diff := cmp.Diff(want, p.Auth); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAppendAuthTooLong(t *testing.T) {
	for _, a := range []teredo.Auth{{ClientID: make([]byte, 256)}, {Value: make([]byte, 256)}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a length of 256 was written into one byte")
				}
			}()
			teredo.AppendAuth(nil, a)
		}()
	}
}

// W-ORG-01
func TestAppendOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"1.2.3.4:337":    "0000 feae fefdfcfb",
		"192.0.2.1:4096": "0000 efff 3ffffdfe",
		"0.0.0.0:0":      "0000 ffff ffffffff",
	} {
		wantBytes(t, text, teredo.AppendOrigin(nil, netip.MustParseAddrPort(text)), unhex(t, want))
	}
	wantBytes(t, "vector", teredo.AppendOrigin(nil, netip.MustParseAddrPort("192.0.2.1:4096")), vector(t, "origin"))
}
