package qualify

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Why a router advertisement is refused. One that is malformed gives an error of package teredo instead.
var (
	ErrUnsolicited     = errors.New("no router solicitation waits for an answer")
	ErrSource          = errors.New("it is not from the server that was asked")
	ErrSameAddress     = errors.New("it is from the address that was asked, but the cone bit asks for another")
	ErrUnauthenticated = errors.New("it has no authentication encapsulation")
	ErrNonce           = errors.New("its nonce is not the one sent")
	ErrClientID        = errors.New("its client identifier is not the one sent")
	ErrUnsigned        = errors.New("the server does not do secure qualification; remove --secret-file if that is right")
	ErrAuthValue       = errors.New("its authentication value is wrong: it is forged, or the server has another secret")
	ErrKeyInvalid      = errors.New("the client's key is no longer valid")
	ErrNoOrigin        = errors.New("it has no origin indication")
	ErrDestination     = errors.New("its IPv6 destination is not the client's link-local address")
	ErrPrefix          = errors.New("its prefix is not the server's Teredo prefix")
	ErrOrigin          = errors.New("its origin indication is not a global IPv4 address and a port")
)

// Refusal is a router advertisement that was refused. The zero value means that none was.
type Refusal struct {
	From netip.AddrPort
	Err  error // why
}

// String says it in words. It is empty for the zero value.
func (r Refusal) String() string {
	if r.Err == nil {
		return ""
	}
	return fmt.Sprintf("router advertisement from %v refused: %v", r.From, r.Err)
}

// Inbound takes a router advertisement; p is the parsed payload of a datagram from that address. An advertisement that is
// refused changes nothing but LastError; the error says why, and allocates nothing unless the nonce was right.
func (m *Machine) Inbound(now time.Time, from netip.AddrPort, p *teredo.Packet, out *teredo.Outbox) error {
	if err := m.accept(from, p); err != nil {
		m.refuse(from, err)
		return err
	}
	if m.secure() && p.Auth.Confirmation != 0 { // C-SEC-04
		m.refused = Refusal{From: from, Err: ErrKeyInvalid}
		m.exchange = exchange{}
		m.offline(now, fmt.Sprintf("the server says that the key of client %q is no longer valid: get a new one", m.cfg.ClientID))
		return ErrKeyInvalid
	}
	m.answered(now, p.Origin, out)
	return nil
}

// accept checks what makes an advertisement the answer of the exchange (C-QUAL-09, -10, -13, -14, -15, -17; C-SEC-02,
// -03, -05). The checks that a stranger's packet fails come first.
func (m *Machine) accept(from netip.AddrPort, p *teredo.Packet) error {
	x := &m.exchange
	switch {
	case !x.waiting():
		return ErrUnsolicited
	case x.cone && from == x.server:
		return ErrSameAddress
	case from != x.server && !(x.cone && from.Port() == teredo.Port):
		return ErrSource
	case !p.HasAuth && m.secure():
		return ErrUnsigned
	case !p.HasAuth:
		return ErrUnauthenticated
	case p.Auth.Nonce != x.nonce:
		return ErrNonce
	}
	if err := m.authenticate(p); err != nil {
		return err
	}
	return m.acceptAdvertisement(p)
}

// acceptAdvertisement checks what the advertisement says, once it is known to answer the solicitation.
func (m *Machine) acceptAdvertisement(p *teredo.Packet) error {
	if !p.Origin.IsValid() {
		return ErrNoOrigin
	}
	ra, err := teredo.ParseRouterAdvertisement(p.IPv6)
	switch {
	case err != nil:
		return err
	case ra.Destination != m.exchange.linkLocal():
		return ErrDestination
	case teredo.ServerOf(ra.Prefix.Addr()) != m.cfg.Server: // the primary's, also from the secondary
		return fmt.Errorf("%w: %v belongs to %v", ErrPrefix, ra.Prefix, teredo.ServerOf(ra.Prefix.Addr()))
	case p.Origin.Port() == 0:
		return fmt.Errorf("%w: %v", ErrOrigin, p.Origin)
	case !m.cfg.Filter.Global(p.Origin.Addr()):
		return fmt.Errorf("%w: %v; permit it with --permit-ipv4 %v/32 if it is meant", ErrOrigin, p.Origin, p.Origin.Addr())
	}
	return nil
}

// refuse remembers a refusal for LastError. What the asked server sends is worth more than what strangers send.
func (m *Machine) refuse(from netip.AddrPort, err error) {
	m.refused = Refusal{From: from, Err: err}
	asked := m.exchange.server
	if m.refusal.Err != nil && m.refusal.From == asked && from != asked {
		return
	}
	m.refusal = m.refused
}
