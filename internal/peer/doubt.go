package peer

// doubt has a path tested that a bubble has told and a packet was sent on, unless the peer answers that packet. A symmetric
// NAT sends what is for the peer by a mapping of its own. Bubbles that come by another one, which the gateway was asked for or
// where the NAT lets everybody in, do not show that the peer's NAT lets ours in, and the sender must learn when it does not.
// Bubbles are no answer: those that go through a server elicit them, too. A peer that sends data has got our bubble, and an
// answer to a connectivity test tells the same.
func (c *Client) doubt(p *Peer, sent []byte, now Stamp) {
	if sent == nil || !c.nat.Symmetric || !p.valid(now) || p.via() != 0 {
		return
	}
	s := p.search()
	s.unproven, s.heard, s.sent = sent, p.receivedPackets.Load(), 1
	c.wait(p, now+retryAfter)
}

// unproven reports whether the peer's path is in doubt.
func (p *Peer) unproven() bool { return p.setup != nil && p.setup.unproven != nil }

// firstHeld is the first of the packets that wait to be sent to the peer; nil: none does.
func (p *Peer) firstHeld() []byte {
	if p.setup == nil {
		return nil
	}
	for _, h := range p.setup.held {
		if !h.from.IsValid() {
			return h.packet
		}
	}
	return nil
}
