package peer

import (
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
)

// appendAlternates appends a trailer with our own addresses (RFC 6081 §5.6.3).
func (c *Client) appendAlternates(b []byte) []byte {
	if c.nat.External.IsValid() {
		return teredo.AppendAlternateAddressTrailer(b, c.nat.Local, c.nat.External)
	}
	return teredo.AppendAlternateAddressTrailer(b, c.nat.Local)
}

// setAlternates takes the list of an Alternate Address Trailer in place of the last one.
func (x *extension) setAlternates(list []netip.AddrPort) {
	if len(list) == 0 {
		return
	}
	x.alternates = [4]endpoint{}
	for i, a := range list {
		x.alternates[i] = endpointOf(a)
	}
}

// isAlternate reports whether a peer has said that it has the endpoint (X-HP-04).
func (p *Peer) isAlternate(from endpoint) bool {
	return p != nil && p.details != nil && slices.Contains(p.details.alternates[:], from)
}

// sendToAlternates sends direct bubbles to the alternate addresses of a peer (RFC 6081 §5.6.4, X-HP-04, X-HP-05).
func (c *Client) sendToAlternates(p *Peer, alternates []netip.AddrPort, now Stamp, out *Output) {
	for _, a := range alternates {
		if c.mayTry(a) && c.mayAnswer(p.key, p, a.Addr(), now) {
			c.sendBubble(p, pathTo(endpointOf(a), 0), now, out)
		}
	}
}

// mayTry reports whether a bubble may go to an address that a peer says it has. Private ones are what hairpinning is for
// (X-HP-07), but not for a client whose own address is global: it shares no NAT with anybody, so such a bubble could only leak
// or annoy (X-HP-04). Our own, broadcast and the like are not either (X-HP-09). Those that are not unicast have had the bubble
// dropped.
func (c *Client) mayTry(a netip.AddrPort) bool {
	ip, local := a.Addr(), c.nat.Local.Addr()
	filter := c.filter
	if !filter.Global(local) {
		filter.Permit = []netip.Prefix{netip.PrefixFrom(ip, 32)}
	}
	return ip != local && endpointOf(a) != c.mapped && a != c.nat.External && filter.Global(ip) && a.Port() != teredo.Port
}
