package peer

import "net/netip"

// A client behind a symmetric NAT sends direct bubbles from its service port and from a random port, with the same nonce, and
// both may get through to us. One nonce proves one path, the first that works, so that repeated bubbles don't move it to and fro.
// But the service port is better: as soon as such a client hears from us there it closes the other (§5.4.4.5), and its number
// does not depend on the NAT. If meanwhile the peer has sent data by the other path, that is taken from there, too.

// proves reports whether the nonce of a bubble proves the path that the bubble has come by (X-SNS-08, X-SNS-11).
func (p *Peer) proves(said *trailers) bool {
	if p == nil || p.ext == nil || said.nonce == [4]byte{} {
		return false
	}
	x := p.ext
	return said.nonce == x.nonceSent || said.nonce == x.nonceUsed && x.usedByRandom && said.randomPort == 0
}

// noteProof notes that a bubble has proven the path.
func (p *Peer) noteProof(said *trailers) {
	x := p.ext
	if said.nonce == x.nonceSent {
		x.nonceSent, x.second = [4]byte{}, 0
	} else {
		x.second = p.path.Load() &^ pathMarks
	}
	x.nonceUsed, x.usedByRandom = said.nonce, said.randomPort != 0
}

// noteSecond notes by which other path a peer has sent the nonce that has proven its path.
func (p *Peer) noteSecond(from netip.AddrPort, via uint8, nonce [4]byte) {
	if p != nil && p.ext != nil && nonce != [4]byte{} && nonce == p.ext.nonceUsed {
		p.ext.second = pathWord(from, via)
	}
}

// isSecond reports whether the peer has proven to be at the endpoint, seen at the local port via, though its path is another.
func (p *Peer) isSecond(from netip.AddrPort, via uint8) bool {
	return p != nil && p.ext != nil && p.ext.second == pathWord(from, via)
}
