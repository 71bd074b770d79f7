package server

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// advertise answers a router solicitation (RFC 4380 §5.3.2).
func (h *Handler) advertise(local int, from netip.AddrPort, p *teredo.Packet, b []byte) Verdict {
	src, err := teredo.ParseRouterSolicitation(p.IPv6)
	if err != nil {
		return dropped(Solicitation, drop.Solicitation)
	}
	if reason := h.checkTo(from); reason != drop.None {
		return dropped(Solicitation, reason)
	}
	via := local
	if teredo.ConeBit(src) { // from the other address, so that only a cone NAT lets it in (S-RS-03, S-RS-04)
		if !h.second {
			return dropped(Solicitation, drop.NoSecondAddress)
		}
		via = 1 - local
	}
	if p.HasAuth {
		// The nonce proves to the client that we saw its solicitation (S-RS-07). We share no secret with it, so
		// identifier and value stay empty.
		b = teredo.AppendAuth(b, teredo.Auth{Nonce: p.Auth.Nonce})
	}
	b = teredo.AppendOrigin(b, from)
	b = teredo.AppendRouterAdvertisement(b, h.public, src) // the primary address, also at the secondary (S-RS-08)
	return Verdict{Action: Send, Kind: Solicitation, Via: via, To: from, Payload: b}
}

// answerEcho answers an Echo Request that is addressed to the server itself (S-FWD-01). The reply is as long as the
// request.
func (h *Handler) answerEcho(kind Kind, local int, from netip.AddrPort, p *teredo.Packet, b []byte) Verdict {
	echo, err := teredo.ParseEcho(p.IPv6)
	if err != nil || echo.Type != teredo.ICMPv6EchoRequest {
		return dropped(kind, drop.Destination)
	}
	if reason := h.checkTo(from); reason != drop.None {
		return dropped(kind, reason)
	}
	b = teredo.AppendEchoReply(b, h.linkLocal, p.IPv6)
	return Verdict{Action: Send, Kind: EchoToServer, Via: local, To: from, Payload: b}
}
