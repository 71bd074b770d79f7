package server

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"encoding"
	"encoding/binary"
	"hash"
	"iter"
	"net/netip"
	"sync"
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
	keys    map[string]*key // by client identifier
	hashers sync.Pool       // of *hasher
}

// NewSecrets makes Secrets. Of several secrets with the same identifier the last one counts. now is the clock for Expires.
func NewSecrets(list []Secret, now func() time.Time) *Secrets {
	s := &Secrets{keys: make(map[string]*key, len(list)), hashers: sync.Pool{New: newHasher}}
	for _, secret := range list {
		s.keys[secret.ClientID] = newKey(secret, &s.hashers, now)
	}
	return s
}

// KeyState is what HMAC-SHA1 needs of a secret: the states of SHA-1 after the secret XOR ipad, and XOR opad (RFC 2104 §2).
type KeyState struct {
	Inner, Outer [5]uint32
	Expires      time.Time // as in Secret
}

// All returns the secrets of all clients, by client identifier.
func (s *Secrets) All() iter.Seq2[string, KeyState] {
	words := func(state []byte) (w [5]uint32) {
		for i := range w { // they are behind the four bytes that name the hash
			w[i] = binary.BigEndian.Uint32(state[4+4*i:])
		}
		return w
	}
	return func(yield func(string, KeyState) bool) {
		for client, k := range s.keys {
			if !yield(client, KeyState{words(k.inner), words(k.outer), k.expires}) {
				return
			}
		}
	}
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

// key computes the values of teredo.AuthValue. Unlike crypto/hmac it allocates nothing and hashes the secret only once, because the
// server computes two values for each solicitation.
type key struct {
	inner, outer []byte // states of SHA-1 after the secret XOR ipad, and XOR opad (RFC 2104 §2)
	hashers      *sync.Pool
	expires      time.Time
	now          func() time.Time
}

// stateful is a hash whose state can be kept and restored.
type stateful interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// hasher is SHA-1 with its input and output.
type hasher struct {
	sha1 stateful
	in   [8 + 1 + 8 + teredo.MTU]byte // nonce, confirmation, origin indication, packet
	out  [sha1.Size]byte
}

func newHasher() any { return &hasher{sha1: sha1.New().(stateful)} }

// sum continues from a state with more input. The result is in out.
func (h *hasher) sum(state, more []byte) []byte {
	// It fails for what is no state of SHA-1.
	_ = h.sha1.UnmarshalBinary(state)
	h.sha1.Write(more)
	return h.sha1.Sum(h.out[:0])
}

func newKey(s Secret, hashers *sync.Pool, now func() time.Time) *key {
	secret := s.Key
	if len(secret) > sha1.BlockSize {
		digest := sha1.Sum(secret)
		secret = digest[:]
	}
	state := func(pad byte) []byte {
		block := bytes.Repeat([]byte{pad}, sha1.BlockSize)
		subtle.XORBytes(block, block, secret)
		h := sha1.New().(stateful)
		h.Write(block)
		b, _ := h.AppendBinary(nil) // SHA-1 has a state
		return b
	}
	return &key{inner: state(0x36), outer: state(0x5c), hashers: hashers, expires: s.Expires, now: now}
}

// value is teredo.AuthValue with this key.
func (k *key) value(nonce [8]byte, confirmation byte, origin netip.AddrPort, ipv6 []byte) [sha1.Size]byte {
	h := k.hashers.Get().(*hasher)
	defer k.hashers.Put(h)
	b := append(h.in[:0], nonce[:]...)
	b = append(b, confirmation)
	if origin.IsValid() {
		b = teredo.AppendOrigin(b, origin)
	}
	h.sum(k.inner, append(b, ipv6...))
	return [sha1.Size]byte(h.sum(k.outer, h.out[:]))
}

// confirmation is the confirmation byte of an answer: not zero when the client should get a new key (§5.3.2).
func (k *key) confirmation() byte {
	if k.expires.IsZero() || k.now().Before(k.expires) {
		return 0
	}
	return 1
}
