package teredo

import (
	"crypto/hmac"
	"crypto/sha1"
	"net/netip"
)

// authIndicator is the second octet of an authentication encapsulation; the first is zero.
const authIndicator = 1

// Auth is an authentication encapsulation (RFC 4380 §5.1.1), 13 bytes plus its two variable fields:
//
//	00 01 | ID-len | AU-len | client identifier | authentication value | nonce (8) | confirmation
type Auth struct {
	ClientID     []byte // at most 255 bytes, may be empty
	Value        []byte // at most 255 bytes, may be empty
	Nonce        [8]byte
	Confirmation byte // not zero in a router advertisement: the client should obtain a new key
}

// AppendAuth appends the authentication encapsulation. It panics when ClientID or Value is longer than 255
// bytes, which no parsed encapsulation can be.
func AppendAuth(b []byte, a Auth) []byte {
	if len(a.ClientID) > 255 || len(a.Value) > 255 {
		panic("teredo: client identifier or authentication value longer than 255 bytes")
	}
	b = append(b, 0, authIndicator, byte(len(a.ClientID)), byte(len(a.Value)))
	b = append(b, a.ClientID...)
	b = append(b, a.Value...)
	b = append(b, a.Nonce[:]...)
	return append(b, a.Confirmation)
}

// AuthValue computes the authentication value of RFC 4380 §5.2.2: HMAC-SHA1, keyed with the shared secret, over
//
//	nonce | confirmation | origin indication | IPv6 packet
//
// An origin that is not valid counts as absent. Trailers, the client identifier and the lengths are not covered.
// Compare values with hmac.Equal.
func AuthValue(secret []byte, nonce [8]byte, confirmation byte, origin netip.AddrPort, ipv6 []byte) [20]byte {
	covered := append(make([]byte, 0, len(nonce)+1+originLen), nonce[:]...)
	covered = append(covered, confirmation)
	if origin.IsValid() {
		covered = AppendOrigin(covered, origin)
	}
	mac := hmac.New(sha1.New, secret)
	mac.Write(covered)
	mac.Write(ipv6)
	return [20]byte(mac.Sum(nil))
}

// parse reads the encapsulation at the start of b, which has its two indicator octets, and returns what follows it.
func (a *Auth) parse(b []byte) (rest []byte, err error) {
	if len(b) < 4 {
		return nil, ErrAuthTruncated
	}
	value := 4 + int(b[2])
	nonce := value + int(b[3])
	end := nonce + len(a.Nonce) + 1
	if len(b) < end {
		return nil, ErrAuthTruncated
	}
	a.ClientID = b[4:value:value]
	a.Value = b[value:nonce:nonce]
	a.Nonce = [8]byte(b[nonce:])
	a.Confirmation = b[end-1]
	return b[end:], nil
}
