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
	ErrUnauthenticated = errors.New("it has no authentication encapsulation")
	ErrNonce           = errors.New("its nonce is not the one sent")
	ErrClientID        = errors.New("it has a client identifier, but none was sent")
	ErrNoOrigin        = errors.New("it has no origin indication")
	ErrDestination     = errors.New("its IPv6 destination is not the client's link-local address")
	ErrPrefix          = errors.New("its prefix is not the server's Teredo prefix")
	ErrOrigin          = errors.New("its origin indication is not a global IPv4 address and a port")
)

// refusal is an advertisement that was refused.
type refusal struct {
	from netip.AddrPort
	err  error // nil: none was
}

func (r refusal) String() string {
	return fmt.Sprintf("router advertisement from %v refused: %v", r.from, r.err)
}

// Inbound takes a router advertisement; p is the parsed payload of a datagram from that address. An advertisement that is
// refused changes nothing but LastError; the error says why, and allocates nothing unless the nonce was right.
func (m *Machine) Inbound(now time.Time, from netip.AddrPort, p *teredo.Packet, out *teredo.Outbox) error {
	if err := m.accept(from, p); err != nil {
		m.refuse(from, err)
		return err
	}
	m.answered(now, p.Origin, out)
	return nil
}

// accept checks what makes an advertisement the answer of the exchange (C-QUAL-09, -10, -13, -14, -15, -17; C-SEC-02).
// The checks that a stranger's packet fails come first.
func (m *Machine) accept(from netip.AddrPort, p *teredo.Packet) error {
	switch {
	case !m.exchange.waiting():
		return ErrUnsolicited
	case from != m.exchange.server:
		return ErrSource
	case !p.HasAuth:
		return ErrUnauthenticated
	case p.Auth.Nonce != m.exchange.nonce:
		return ErrNonce
	case len(p.Auth.ClientID) != 0: // C-SEC-05
		return ErrClientID
	case !p.Origin.IsValid():
		return ErrNoOrigin
	}
	ra, err := teredo.ParseRouterAdvertisement(p.IPv6)
	switch {
	case err != nil:
		return err
	case ra.Destination != linkLocal():
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
	asked := m.exchange.server
	if m.refusal.err != nil && m.refusal.from == asked && from != asked {
		return
	}
	m.refusal = refusal{from: from, err: err}
}
