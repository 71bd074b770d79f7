package qualify

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Why a router advertisement is refused (RFC 4380 §5.2.1 and §5.2.2). A malformed one gives an error of package teredo instead.
var (
	ErrUnsolicited     = errors.New("no router solicitation waits for an answer")
	ErrSource          = errors.New("it is not from the server that was asked")
	ErrSameAddress     = errors.New("it is from the address that was asked, but the cone bit asks for another")
	ErrUnauthenticated = errors.New("it has no authentication encapsulation")
	ErrNonce           = errors.New("its nonce is not the one sent")
	ErrClientID        = errors.New("its client identifier is not the one sent")
	ErrUnsigned        = errors.New("the server does not do secure qualification; if that is right, configure no secret")
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
	Err  error // what Inbound returned
}

// String describes the refusal in a sentence. It is empty for the zero value.
func (r Refusal) String() string {
	if r.Err == nil {
		return ""
	}
	return fmt.Sprintf("router advertisement from %v refused: %v", r.From, r.Err)
}

// Inbound takes a router advertisement; p is the parsed payload of a datagram from that address. Every advertisement comes
// through here: those of qualification, of the test with the secondary address, of maintenance, of interval determination
// (Determination.Inbound) and of secure qualification.
//
// The error says why the advertisement is refused: one of the errors above, or of teredo.ParseRouterAdvertisement. A refused
// one changes nothing but LastError and Refused of Status; only ErrKeyInvalid, which the server itself tells, ends
// qualification. Nothing is allocated unless the nonce was right.
func (m *Machine) Inbound(now time.Time, from netip.AddrPort, p *teredo.Packet, out *teredo.Outbox) error {
	native, err := m.judge(from, p)
	if err != nil {
		m.refuse(now, from, err)
		return err
	}
	m.answered(now, p.Origin, native, out)
	return nil
}

// judge accepts the answer that the exchange waits for, and returns the native prefix in it. The checks that a stranger's packet fails come first.
func (m *Machine) judge(from netip.AddrPort, p *teredo.Packet) (native netip.Prefix, err error) {
	x := &m.exchange
	switch {
	case !x.waiting():
		return native, ErrUnsolicited
	case x.cone && from == x.server:
		return native, ErrSameAddress
	case from != x.server && !(x.cone && from.Port() == teredo.Port): // RFC 4380 §5.3.2: the cone bit is answered from elsewhere
		return native, ErrSource
	case !p.HasAuth && m.secure():
		return native, ErrUnsigned
	case !p.HasAuth: // the nonce is demanded without a secret, too (RFC 4380 §5.2.2)
		return native, ErrUnauthenticated
	case p.Auth.Nonce != x.nonce:
		return native, ErrNonce
	}
	if err := m.authenticate(p); err != nil {
		return native, err
	}
	if native, err = m.checkContents(p); err != nil {
		return native, err
	}
	if m.secure() && p.Auth.Confirmation != 0 { // RFC 4380 §5.2.2
		return native, ErrKeyInvalid
	}
	return native, nil
}

// checkContents makes the checks of RFC 4380 §5.2.1 on the advertisement itself. The prefix is that of the primary address, also
// when the secondary address answers: the client has one Teredo address. The native prefix is returned as it is.
func (m *Machine) checkContents(p *teredo.Packet) (native netip.Prefix, err error) {
	if !p.Origin.IsValid() {
		return native, ErrNoOrigin
	}
	ra, err := teredo.ParseRouterAdvertisement(p.IPv6)
	switch {
	case err != nil:
		return native, err
	case ra.Destination != m.exchange.linkLocal():
		return native, ErrDestination
	case teredo.ServerOf(ra.Prefix.Addr()) != m.cfg.Server:
		return native, fmt.Errorf("%w: %v belongs to %v", ErrPrefix, ra.Prefix, teredo.ServerOf(ra.Prefix.Addr()))
	case p.Origin.Port() == 0:
		return native, fmt.Errorf("%w: %v", ErrOrigin, p.Origin)
	case !m.cfg.Filter.Global(p.Origin.Addr()):
		return native, fmt.Errorf("%w: %v; permit %v/32 if it is meant", ErrOrigin, p.Origin, p.Origin.Addr())
	}
	return ra.Native, nil
}

// refuse notes a refusal for Status. What the asked server sends is worth more than what strangers send.
func (m *Machine) refuse(now time.Time, from netip.AddrPort, err error) {
	m.refused = Refusal{From: from, Err: err}
	if err == ErrKeyInvalid {
		m.exchange = exchange{}
		m.offline(now, fmt.Sprintf("the server says that the key of client %q is no longer valid: get a new one", m.cfg.ClientID))
		return
	}
	asked := m.exchange.server
	if m.refusal.Err != nil && m.refusal.From == asked && from != asked {
		return
	}
	m.refusal = m.refused
}
