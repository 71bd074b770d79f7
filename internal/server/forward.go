package server

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// forward passes a packet on to a Teredo client over UDP (RFC 4380 §5.3.1). It always leaves from the primary address,
// the one that clients of this server have opened their NAT for. The packet and its trailers stay as they came; an
// authentication or origin that came with it is not passed on (S-FWD-07).
func (h *Handler) forward(kind Kind, from netip.AddrPort, dst netip.Addr, p *teredo.Packet, b []byte) Verdict {
	to := teredo.Mapped(dst)
	if reason := h.checkTo(to); reason != drop.None {
		return dropped(kind, reason)
	}
	if teredo.ServerOf(dst) == h.public { // S-FWD-06
		b = teredo.AppendOrigin(b, from)
	}
	b = append(b, p.IPv6...)
	b = append(b, p.Trailers...)
	return Verdict{Action: Send, Kind: kind, Via: Primary, To: to, Payload: b}
}

// routeNatively passes a client's packet on to the IPv6 Internet (S-FWD-03). The server is a router here, so the hop
// limit goes down by one. Trailers have no meaning outside of UDP and are left behind. With a native prefix the packet
// leaves with the client's native address, so that the answer comes to a relay of the same operator.
func (h *Handler) routeNatively(kind Kind, dst netip.Addr, p *teredo.Packet, b []byte) Verdict {
	if !h.filter.Native(dst) { // S-FWD-02, SEC-LOOP
		return dropped(kind, drop.Scope)
	}
	const hopLimit = 7 // offset in the IPv6 header
	if p.IPv6[hopLimit] <= 1 {
		return dropped(kind, drop.HopLimit)
	}
	b = append(b, p.IPv6...)
	b[hopLimit]--
	h.natives.Outward(b)
	return Verdict{Action: Native, Kind: kind, To: netip.AddrPortFrom(dst, 0), Payload: b}
}

// isLinkLocal tells whether the address is in fe80::/10. netip's own test also takes IPv4-mapped addresses.
func isLinkLocal(a netip.Addr) bool {
	b := a.As16()
	return b[0] == 0xfe && b[1]&0xc0 == 0x80
}
