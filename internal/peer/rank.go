package peer

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Rank says how much it matters that a datagram gets to the control goroutine when there are more than it can look at.
type Rank uint8

const (
	Stranger   Rank = iota // nobody here has to do with its sender
	Known                  // it came on the path of a peer that nothing was sent to
	FromServer             // the client's server has passed it on, or somebody says so
	Wanted                 // its sender is being looked for, or packets are sent to it
)

// Rank tells the rank of a well-formed UDP payload that came from an endpoint to the local port via, by its addresses. A payload
// that is not for this host has none: why is the reason to drop it.
//
// Whoever sends the payload can choose its addresses. But a stranger does not know which peers are being looked for. Only
// during such a search a packet in the name of that peer has the highest rank from any endpoint; at all other times it must
// come on the peer's path.
func (t *Table) Rank(pkt *teredo.Packet, from netip.AddrPort, via uint8) (rank Rank, why drop.Reason) {
	src, dst, at := sourceOf(pkt.IPv6), destinationOf(pkt.IPv6), pathTo(endpointOf(from), via)
	p := t.lookup(src)
	own := t.own.Load()
	switch {
	case t.relay:
		if p == nil && !dst.isLinkLocal() && !t.serves(dst, incoming) {
			return Stranger, drop.Destination // R-RX-04
		}
	case teredo.IsICMPv6Type(pkt.IPv6, teredo.ICMPv6RouterAdvertisement): // to the address of a solicitation
	case own == nil:
		return Stranger, drop.NotQualified
	case dst != *own:
		return Stranger, drop.Destination // C-RX-02
	}
	switch {
	case p != nil && (p.path.Load()&pathSought != 0 || t.isTestReply(pkt.IPv6)):
		return Wanted, drop.None
	case p.isAt(at) && p.sentPackets.Load() > 0:
		return Wanted, drop.None
	case p.isAt(at):
		return Known, drop.None
	case own != nil && at.endpoint() == own.server():
		return FromServer, drop.None
	}
	return Stranger, drop.None
}
