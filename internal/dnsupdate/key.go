// Package dnsupdate keeps the AAAA record of a name at the address of this host, by dynamic updates (RFC 2136) that are signed with
// a shared key (TSIG, RFC 8945).
package dnsupdate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"github.com/teredo-suite/teredo/internal/secret"
)

// Key signs updates.
type Key struct {
	Name      string // fully qualified
	Algorithm string // fully qualified, as in dns.HmacSHA256
	Secret    string // in base64
}

// LoadKey reads a key from a file as tsig-keygen writes it: key "NAME" { algorithm hmac-sha256; secret "BASE64"; }; It refuses a file
// that others than its owner can read or change.
func LoadKey(path string) (Key, error) {
	text, err := secret.Read(path)
	var k Key
	if err == nil {
		k, err = parseKey(string(text))
	}
	if err != nil {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

var errForm = errors.New(`it must have one key, as 'tsig-keygen' writes it: key "NAME" { algorithm hmac-sha256; secret "BASE64"; };`)

func parseKey(text string) (k Key, err error) {
	tokens, err := tokenize(text)
	if err != nil {
		return k, err
	}
	n := len(tokens)
	if n < 5 || tokens[0] != "key" || tokens[2] != "{" || tokens[n-2] != "}" || tokens[n-1] != ";" {
		return k, errForm
	}
	name, algorithm := tokens[1], ""
	for statements := tokens[3 : n-2]; len(statements) > 0; statements = statements[3:] {
		if len(statements) < 3 || statements[2] != ";" {
			return k, errForm
		}
		switch statements[0] {
		case "algorithm":
			algorithm = dns.CanonicalName(statements[1])
		case "secret":
			k.Secret = statements[1]
		default:
			return k, errForm
		}
	}
	k.Name, k.Algorithm = dns.CanonicalName(name), algorithm
	secret, secretErr := base64.StdEncoding.DecodeString(k.Secret)
	switch _, ok := dns.IsDomainName(k.Name); {
	case !ok || k.Name == ".":
		return Key{}, fmt.Errorf("%q cannot be the name of a key", name)
	case secretErr != nil || len(secret) == 0:
		return Key{}, errors.New("the secret is not base64") // it is not shown
	}
	switch k.Algorithm {
	case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
		return k, nil
	}
	return Key{}, fmt.Errorf("the algorithm %q is not supported: make a key with 'tsig-keygen -a hmac-sha256 NAME'", strings.TrimSuffix(algorithm, "."))
}

// tokenize splits the text of a configuration of BIND into words, strings without their quotes, braces and semicolons. Comments are
// left out.
func tokenize(text string) (tokens []string, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		switch {
		case strings.HasPrefix(text, "#"), strings.HasPrefix(text, "//"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text, "*/")
		case strings.ContainsRune("{};", rune(text[0])):
			tokens, text = append(tokens, text[:1]), text[1:]
		case text[0] == '"':
			word, rest, closed := strings.Cut(text[1:], `"`)
			if !closed {
				return nil, errForm
			}
			tokens, text = append(tokens, word), rest
		default:
			end := strings.IndexAny(text, " \t\r\n{};\"#")
			if end < 0 {
				end = len(text)
			}
			tokens, text = append(tokens, text[:end]), text[end:]
		}
	}
	return tokens, nil
}
