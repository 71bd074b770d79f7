package peer

// oneWayTest is a packet that was sent on a path that may lead one way only.
type oneWayTest struct {
	packet []byte // nil: there is no test
	heard  uint64 // packets of data that had come from the peer by then
}

// testOneWay has a path tested that a bubble has told and a packet was sent on, unless the peer answers that packet (RFC 6081
// §5.2). A symmetric NAT sends what is for the peer by a mapping of its own. Bubbles that come by another one, which the gateway
// was asked for or where the NAT lets everybody in, do not show that the peer's NAT lets ours in, and the sender must learn when
// it does not. Bubbles are no answer: those that go through a server elicit them, too. A peer that sends data has got our
// bubble, and an answer to a connectivity test tells the same.
func (c *Client) testOneWay(p *Peer, sent []byte, now Stamp) {
	if sent == nil || !c.nat.Symmetric || !p.valid(now) || p.path.Load().via() != 0 {
		return
	}
	s := p.ensureSearch()
	s.tests.oneWay, s.sent = oneWayTest{sent, p.receivedPackets.Load()}, 1
	c.wait(p, now+retryAfter)
}

// oneWayAnswered reports whether the peer has sent data since the packet that the running test is about.
func (p *Peer) oneWayAnswered() bool { return p.receivedPackets.Load() != p.search.tests.oneWay.heard }
