package peer

import "github.com/teredo-suite/teredo/internal/drop"

// noteSymmetricPeer notes that a bubble has come from another endpoint than its source address says, which tells that the peer's
// NAT is symmetric (RFC 6081 §5.3.4.1, X-UPNP-07, A-08). Only a client with a mapping of its gateway has use for that.
func (c *Client) noteSymmetricPeer(d *datagram, now Stamp) drop.Reason {
	if !d.bubble || d.fromMapped() || !c.extensions.UPnP || !c.nat.PortMapping || c.isLocalAt(d.peer, d.at.endpoint(), now) {
		return drop.None
	}
	if d.peer == nil {
		if c.refusePeer(d.src) != drop.None {
			return drop.UnknownPeer
		}
		if d.peer = c.admit(nil, d.src, now); d.peer == nil {
			return drop.TableFull
		}
	}
	d.peer.ensureDetails().symmetric = true
	return drop.None
}

// isAsymmetric reports whether packets for the peer go to the mapping in its address although its packets come by another
// path: both are behind UPnP-enabled symmetric NATs, which let in what is sent to the mapping asked for (RFC 6081 §5.3.4.2,
// X-UPNP-08). A peer that is seen at its local address is behind our own NAT.
func (c *Client) isAsymmetric(p *Peer, at path, now Stamp) bool {
	return c.extensions.UPnP && c.nat.Symmetric && c.nat.PortMapping && !c.nat.External.IsValid() &&
		p.details != nil && p.details.symmetric && c.filter.Global(at.endpoint().addr()) && !c.isLocalAt(p, at.endpoint(), now)
}
