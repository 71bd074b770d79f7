package server

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// advertisementLen is the largest size of a router advertisement without encapsulations.
const advertisementLen = 112

// advertise answers a router solicitation (§5.3.2).
func (h *Handler) advertise(local int, from netip.AddrPort, p *teredo.Packet, b []byte) Verdict {
	src, err := teredo.ParseRouterSolicitation(p.IPv6)
	if err != nil {
		return dropped(Solicitation, drop.Solicitation)
	}
	if h.owns(from.Addr()) {
		return dropped(Solicitation, drop.Loop)
	}
	key, ok := h.authenticate(p)
	if !ok {
		return dropped(Solicitation, drop.Unauthenticated)
	}
	cone := teredo.ConeBit(src)
	if cone { // from the other address, so that only a cone NAT lets it in (§5.3.2)
		if !h.second {
			return dropped(Solicitation, drop.NoSecondAddress)
		}
		local = 1 - local
	}
	advertisement := &h.advertisement
	if len(h.natives) > 0 && teredo.AsksNativePrefix(p.IPv6) {
		advertisement = &h.nativeAdvertisement
	}
	if p.HasAuth {
		var room [advertisementLen]byte
		b = appendAuth(b, key, from, p, advertisement.Append(room[:0], src))
	}
	b = teredo.AppendOrigin(b, from)
	b = advertisement.Append(b, src)
	return Verdict{Action: Send, Kind: Solicitation, Cone: cone, Local: local, To: from, Payload: b}
}

// authenticate reports whether a solicitation may be answered (§5.3.1 rule 4), and returns the key to sign the answer with. There
// is no key when secure qualification is not required.
func (h *Handler) authenticate(p *teredo.Packet) (*key, bool) {
	secrets := h.secrets.Load()
	if secrets == nil {
		return nil, true
	}
	key := secrets.verify(p)
	return key, key != nil
}

// appendAuth appends the authentication of the advertisement that answers a solicitation with one. The nonce proves to the client
// that this server has seen its solicitation (§5.2.2). Without a key, identifier and value are empty. With a key, the value proves
// who has answered, and the confirmation byte tells whether the key is still valid (§5.3.2).
func appendAuth(b []byte, key *key, from netip.AddrPort, p *teredo.Packet, advertisement []byte) []byte {
	if key == nil {
		return teredo.AppendAuth(b, teredo.Auth{Nonce: p.Auth.Nonce})
	}
	auth := teredo.Auth{ClientID: p.Auth.ClientID, Nonce: p.Auth.Nonce, Confirmation: key.confirmation()}
	value := key.value(auth.Nonce, auth.Confirmation, from, advertisement)
	auth.Value = value[:]
	return teredo.AppendAuth(b, auth)
}

// answerEcho answers an Echo Request that is addressed to the server itself (§5.3.1). The reply is as long as the request.
func (h *Handler) answerEcho(kind Kind, local int, from netip.AddrPort, p *teredo.Packet, b []byte) Verdict {
	echo, err := teredo.ParseEcho(p.IPv6)
	if err != nil || echo.Type != teredo.ICMPv6EchoRequest {
		return dropped(kind, drop.Destination)
	}
	if h.owns(from.Addr()) {
		return dropped(kind, drop.Loop)
	}
	b = teredo.AppendEchoReply(b, h.linkLocal, p.IPv6)
	return Verdict{Action: Send, Kind: EchoToServer, Local: local, To: from, Payload: b}
}
