package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/internal/secret"
)

const (
	leastToken = 16   // bytes
	mostToken  = 4096 // bytes
)

// guard refuses what a caller may not ask, before anything else is done for it.
func (s *Site) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Context().Value(connKey{}).(*conn).pending.Store(false)
		h := w.Header()
		// Browsers load nothing from elsewhere for our pages, take each for what it is, and keep none.
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "+
			"base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		switch {
		case !s.hosts.has(r):
			s.refuse(w, foreignHost, http.StatusMisdirectedRequest, "this address answers to localhost, to its own address, and to names that it was told")
		case r.Method == http.MethodPost && r.URL.Path == pingPath:
			s.guardPing(w, r, next)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			s.refuse(w, wrongMethod, http.StatusMethodNotAllowed, "this address is for reading: use GET, or POST for "+pingPath)
		case r.ContentLength != 0:
			s.refuse(w, withBody, http.StatusRequestEntityTooLarge, "a request must have no body")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// private is for those that have the token, if there is one.
func (s *Site) private(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if s.token != nil && !s.token.in(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="teredo", charset="UTF-8"`)
			s.refuse(w, wrongToken, http.StatusUnauthorized, "this needs the token, as a bearer token or as a password with any user name")
			return
		}
		next(w, r)
	}
}

// secret is for those that have the token, and for nobody if there is none.
func (s *Site) secret(next http.HandlerFunc) http.HandlerFunc {
	if s.token != nil {
		return s.private(next)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		s.refuse(w, wrongToken, http.StatusForbidden, "peers and the log show with whom this host communicates, so they need a token: start the program with a token file")
	}
}

// token is what callers must have, as a hash: hashes have one length, and a comparison tells nothing about the token.
type token [sha256.Size]byte

// loadToken reads a token from a file that nobody but its owner may read.
func loadToken(path string) (*token, error) {
	text, err := secret.Read(path)
	word := strings.TrimSpace(string(text))
	switch {
	case err != nil:
		return nil, err
	case len(text) > mostToken:
		return nil, fmt.Errorf("it is larger than %d bytes", mostToken)
	case len(word) < leastToken:
		return nil, fmt.Errorf("the token has %d bytes and needs %d: 'openssl rand -hex 16' makes a good one", len(word), leastToken)
	case strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("the token must be one word of ASCII characters")
	}
	t := token(sha256.Sum256([]byte(word)))
	return &t, nil
}

// in reports whether a request has the token.
func (t *token) in(r *http.Request) bool {
	word, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		_, word, ok = r.BasicAuth()
	}
	got := sha256.Sum256([]byte(word))
	return subtle.ConstantTimeCompare(t[:], got[:]) == 1 && ok
}

// hosts are the names and addresses that requests may be for. A web page of somebody else, whose name leads to our address, has its
// own name in the Host header of what it asks (DNS rebinding).
type hosts map[string]bool

func newHosts(told []string) hosts {
	h := hosts{"localhost": true}
	for _, name := range told {
		h[canonical(name)] = true
	}
	return h
}

// has reports whether a request is for this host: by localhost, a loopback address, the address that it came to, or a name that was told.
func (h hosts) has(r *http.Request) bool {
	name := canonical(r.Host)
	if h[name] {
		return true
	}
	addr, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return addr.IsLoopback() || ok && local.AddrPort().Addr().Unmap() == addr.Unmap()
}

// canonical is how hosts writes a name or an address, which may have a port.
func canonical(name string) string {
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
}
