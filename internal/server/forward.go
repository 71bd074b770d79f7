package server

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// forward sends a packet to a Teredo client over UDP (§5.3.1). It always leaves from the primary address, for which the NATs of
// this server's clients are open. The packet and its trailers stay as they came (RFC 6081 §4.1). An authentication or origin
// indication that came with it is removed, so that nobody can forge one.
func (h *Handler) forward(kind Kind, from netip.AddrPort, dst netip.Addr, p *teredo.Packet, b []byte) Verdict {
	to := teredo.Mapped(dst)
	if reason := h.checkTo(to); reason != drop.None {
		return dropped(kind, reason)
	}
	if teredo.ServerOf(dst) == h.public { // only its clients know this server
		b = teredo.AppendOrigin(b, from)
	}
	b = append(b, p.IPv6...)
	b = append(b, p.Trailers...)
	return Verdict{Action: Send, Kind: kind, Local: Primary, To: to, Payload: b}
}

// routeNatively passes a client's packet on to the IPv6 Internet (§5.3.1). The server is a router here, so the hop
// limit goes down by one. Trailers have no meaning outside of UDP and are left behind. With a native prefix the packet
// leaves with the client's native address, so that the answer comes to a relay of the same operator.
func (h *Handler) routeNatively(kind Kind, dst netip.Addr, p *teredo.Packet, b []byte) Verdict {
	if !h.filter.Load().Native(dst) { // §5.3.1; and no tunnel, against loops (RFC 6169 §6.1.3)
		return dropped(kind, drop.Scope)
	}
	if teredo.HopLimit(p.IPv6) <= 1 {
		return dropped(kind, drop.HopLimit)
	}
	b = append(b, p.IPv6...)
	teredo.PutHopLimit(b, teredo.HopLimit(b)-1)
	h.natives.Outward(b)
	return Verdict{Action: Native, Kind: kind, To: netip.AddrPortFrom(dst, 0), Payload: b}
}

// isLinkLocal reports whether the address is in fe80::/10. netip's own test accepts IPv4-mapped addresses, too.
func isLinkLocal(a netip.Addr) bool {
	b := a.As16()
	return b[0] == 0xfe && b[1]&0xc0 == 0x80
}
