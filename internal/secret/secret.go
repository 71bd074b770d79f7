// Package secret reads the secrets that a server shares with its clients (RFC 4380 §5.2.2) from a text file: one client in each
// line, with its identifier, its secret and, for a server, the day on which the secret expires.
//
//	# identifier  secret                                    (a line that starts with # is a comment)
//	laptop-7      hex:6f1d0a55c3f04ab1b6d1e9d7a2c84e30
//	office        base64:bx0KVcPwSrG20enXoshOMA==  expires=2027-01-31
//	lab           correct-horse-battery-staple
package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	maxIdentifier = 255     // bytes; its length has one byte (RFC 4380 §5.1.1)
	maxSecret     = 1 << 10 // bytes; HMAC-SHA1 uses far fewer
	minStrong     = 16      // bytes; fewer do not withstand a dictionary attack (RFC 4380 §7.2.1)
)

// Client is a client with its secret.
type Client struct {
	ID      string
	Secret  []byte
	Expires time.Time // the secret is invalid from then on; zero: never
	Line    int       // of the file
}

// Weak reports whether the secret is too short to withstand a dictionary attack on recorded traffic (RFC 4380 §7.2.1).
func (c Client) Weak() bool { return len(c.Secret) < minStrong }

// Parse reads the text of a secrets file. Errors name the line; they never show a secret.
func Parse(text []byte) ([]Client, error) {
	var clients []Client
	lines := make(map[string]int)
	number := 0
	for line := range bytes.Lines(text) {
		number++
		fields := withoutComment(strings.Fields(string(line)))
		if len(fields) == 0 {
			continue
		}
		c, err := parseClient(fields)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		if first := lines[c.ID]; first > 0 {
			return nil, fmt.Errorf("line %d: client %q is already in line %d", number, c.ID, first)
		}
		lines[c.ID] = number
		c.Line = number
		clients = append(clients, c)
	}
	if len(clients) == 0 {
		return nil, errors.New("the file has no client: write a line with identifier and secret for each")
	}
	return clients, nil
}

// withoutComment cuts the fields of a line at the first one that starts with #.
func withoutComment(fields []string) []string {
	for i, f := range fields {
		if f[0] == '#' {
			return fields[:i]
		}
	}
	return fields
}

func parseClient(fields []string) (Client, error) {
	c := Client{ID: fields[0]}
	switch {
	case len(c.ID) > maxIdentifier:
		return c, fmt.Errorf("the client identifier has %d bytes; the maximum is %d", len(c.ID), maxIdentifier)
	case len(fields) == 1:
		return c, fmt.Errorf("client %q has no secret", c.ID)
	}
	var err error
	if c.Secret, err = parseSecret(fields[1]); err != nil {
		return c, fmt.Errorf("the secret of client %q %w", c.ID, err)
	}
	for _, option := range fields[2:] {
		date, ok := strings.CutPrefix(option, "expires=")
		if !ok {
			return c, fmt.Errorf("only expires=DATE may follow the secret of client %q", c.ID)
		}
		if c.Expires, err = time.Parse(time.DateOnly, date); err != nil {
			return c, fmt.Errorf("%q is not a date; write expires=2027-01-31", date)
		}
	}
	return c, nil
}

// parseSecret reads a secret in one of its three forms. The errors complete a sentence that begins with "the secret".
func parseSecret(s string) (secret []byte, err error) {
	if digits, ok := strings.CutPrefix(s, "hex:"); ok {
		secret, err = hex.DecodeString(digits)
		if err != nil {
			return nil, errors.New("is not an even number of hexadecimal digits")
		}
	} else if digits, ok := strings.CutPrefix(s, "base64:"); ok {
		secret, err = base64.StdEncoding.DecodeString(digits)
		if err != nil {
			return nil, errors.New("is not base64 with padding")
		}
	} else {
		secret = []byte(s)
	}
	switch {
	case len(secret) == 0:
		return nil, errors.New("is empty")
	case len(secret) > maxSecret:
		return nil, fmt.Errorf("has %d bytes; the maximum is %d", len(secret), maxSecret)
	}
	return secret, nil
}
