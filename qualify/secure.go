package qualify

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

const maxClientID = 255 // its length has one byte (RFC 4380 §5.1.1)

// SetSecret changes the client identifier and the shared secret, and asks the server at once. A qualified client keeps its
// address meanwhile; otherwise qualification begins anew. The errors are those of New.
func (m *Machine) SetSecret(now time.Time, clientID, secret []byte, out *teredo.Outbox) error {
	if err := checkSecret(clientID, secret); err != nil {
		return err
	}
	m.cfg.ClientID, m.cfg.Secret = clientID, secret
	switch m.state {
	case Initial:
	case Qualified:
		m.solicit(now, m.primary, out)
	default:
		m.Start(now, out)
	}
	return nil
}

func checkSecret(clientID, secret []byte) error {
	switch {
	case len(clientID) > maxClientID:
		return fmt.Errorf("the client identifier has %d bytes; the maximum is %d", len(clientID), maxClientID)
	case len(secret) == 0 && len(clientID) > 0:
		return fmt.Errorf("client %q has no secret", clientID)
	case len(clientID) == 0 && len(secret) > 0:
		return errors.New("there is a secret, but no client identifier")
	}
	return nil
}

// secure reports whether the client must do secure qualification.
func (m *Machine) secure() bool { return len(m.cfg.Secret) > 0 }

// appendSolicitation appends the authentication encapsulation and the router solicitation of the exchange. Without a secret the
// authentication carries only the nonce: its identifier and value are empty (RFC 4380 §5.2.2).
func (m *Machine) appendSolicitation(b []byte) []byte {
	x := &m.exchange
	appendIPv6 := teredo.AppendRouterSolicitation
	if x.native {
		appendIPv6 = teredo.AppendNativeSolicitation
	}
	solicitation := appendIPv6(nil, x.linkLocal())
	auth := teredo.Auth{ClientID: m.cfg.ClientID, Nonce: x.nonce}
	if m.secure() {
		value := teredo.AuthValue(m.cfg.Secret, x.nonce, 0, netip.AddrPort{}, solicitation)
		auth.Value = value[:]
	}
	return append(teredo.AppendAuth(b, auth), solicitation...)
}

// authenticate checks the authentication of an advertisement whose nonce is right. With a secret, it must show that the sender
// has the secret, too. The value covers what was received, the confirmation byte included (RFC 4380 §5.2.2).
func (m *Machine) authenticate(p *teredo.Packet) error {
	auth := &p.Auth
	switch {
	case m.secure() && len(auth.Value) == 0:
		return ErrUnsigned
	case !bytes.Equal(auth.ClientID, m.cfg.ClientID):
		return ErrClientID
	case !m.secure():
		return nil
	}
	want := teredo.AuthValue(m.cfg.Secret, auth.Nonce, auth.Confirmation, p.Origin, p.IPv6)
	if !hmac.Equal(auth.Value, want[:]) {
		return ErrAuthValue
	}
	return nil
}
