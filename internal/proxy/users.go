package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/secret"
)

// guessing is how often one address may be wrong about a password.
func guessing() budget.Rate { return budget.Rate{PerSecond: 1, Burst: 20} }

// SetUsers replaces those who may use SOCKS and HTTP. Nil: everybody who can connect may.
func (p *Proxy) SetUsers(users []secret.Client) {
	if users == nil {
		p.users.Store(nil)
		return
	}
	byName := make(map[string]user, len(users))
	for _, u := range users {
		byName[u.ID] = user{sha256.Sum256(u.Secret), u.Expires}
	}
	p.users.Store(&byName)
}

// user is one who may use the proxy.
type user struct {
	password [sha256.Size]byte
	expires  time.Time // zero: never
}

// asksPassword reports whether clients must say who they are.
func (p *Proxy) asksPassword() bool { return p.users.Load() != nil }

// allows checks the user and password of a client.
func (p *Proxy) allows(from net.Addr, name, password string) error {
	now, key := int64(time.Since(p.began)), keyOf(from)
	if !p.guesses.Allow(now, key) {
		return refuse(ReasonAttempts, "too many wrong passwords came from this address: wait a minute")
	}
	given := sha256.Sum256([]byte(password))
	u, known := (*p.users.Load())[name]
	right := subtle.ConstantTimeCompare(given[:], u.password[:]) == 1
	if !known || !right || !u.expires.IsZero() && time.Now().After(u.expires) {
		return refuse(ReasonCredentials, "the user or the password is wrong")
	}
	p.guesses.Return(key)
	return nil
}

// keyOf is the source of a connection for a budget.
func keyOf(from net.Addr) uint64 {
	a := sourceOf(addrOf(from))
	if !a.IsValid() {
		return 0
	}
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]) ^ binary.BigEndian.Uint64(b[8:])
}

// addrOf is the IP address of a net.Addr, the zero Addr if it has none.
func addrOf(a net.Addr) netip.Addr { return endpointOf(a).Addr() }

// endpointOf is a net.Addr of TCP or UDP as a netip.AddrPort.
func endpointOf(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		at = a.AddrPort()
	case *net.UDPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}
