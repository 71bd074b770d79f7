package server

import (
	"crypto/hmac"
	"crypto/sha1"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Secret is what the server shares with one client for secure qualification (RFC 4380 §5.2.2).
type Secret struct {
	ClientID string    // 1 to 255 bytes
	Key      []byte    // the shared secret
	Expires  time.Time // from then on the client is told to get a new key; zero: never
}

// Secrets are the secrets of all clients. They never change, and are safe for concurrent use. To change a secret, make new
// Secrets.
type Secrets struct {
	keys map[string]*key // by client identifier
}

// NewSecrets makes Secrets. Of several secrets with the same identifier the last one counts. now is the clock for Expires.
func NewSecrets(list []Secret, now func() time.Time) *Secrets {
	s := &Secrets{keys: make(map[string]*key, len(list))}
	for _, secret := range list {
		s.keys[secret.ClientID] = newKey(secret, now)
	}
	return s
}

// verify returns the key that the solicitation is signed with, nil when it is not authentic (§5.3.1 rule 4).
func (s *Secrets) verify(p *teredo.Packet) *key {
	if !p.HasAuth {
		return nil
	}
	k := s.keys[string(p.Auth.ClientID)]
	if k == nil {
		return nil
	}
	want := k.value(p.Auth.Nonce, p.Auth.Confirmation, p.Origin, p.IPv6)
	if !hmac.Equal(p.Auth.Value, want[:]) { // in constant time
		return nil
	}
	return k
}

// key computes the values of teredo.AuthValue. It allocates nothing, unlike crypto/hmac, because the server computes two values
// for each solicitation.
type key struct {
	inner, outer [sha1.BlockSize]byte // the secret XOR ipad, and XOR opad (RFC 2104 §2)
	expires      time.Time
	now          func() time.Time
}

func newKey(s Secret, now func() time.Time) *key {
	secret := s.Key
	if len(secret) > sha1.BlockSize {
		digest := sha1.Sum(secret)
		secret = digest[:]
	}
	k := &key{expires: s.Expires, now: now}
	copy(k.inner[:], secret)
	copy(k.outer[:], secret)
	for i := range k.inner {
		k.inner[i] ^= 0x36
		k.outer[i] ^= 0x5c
	}
	return k
}

// value is teredo.AuthValue with this key.
func (k *key) value(nonce [8]byte, confirmation byte, origin netip.AddrPort, ipv6 []byte) [sha1.Size]byte {
	var room [sha1.BlockSize + 8 + 1 + 8 + teredo.MTU]byte // nonce, confirmation, origin indication, packet
	b := append(room[:0], k.inner[:]...)
	b = append(b, nonce[:]...)
	b = append(b, confirmation)
	if origin.IsValid() {
		b = teredo.AppendOrigin(b, origin)
	}
	digest := sha1.Sum(append(b, ipv6...))
	b = append(room[:0], k.outer[:]...)
	return sha1.Sum(append(b, digest[:]...))
}

// confirmation is the confirmation byte of an answer: not zero when the client should get a new key (§5.3.2).
func (k *key) confirmation() byte {
	if k.expires.IsZero() || k.now().Before(k.expires) {
		return 0
	}
	return 1
}
