package peer

import "net/netip"

// A client behind a symmetric NAT sends direct bubbles from its service port and from a random port, with the same nonce, and
// both may get through to us. One nonce proves one path, the first that works, so that repeated bubbles don't move it to and fro.
// But the service port is better: as soon as such a client hears from us there it closes the other (§5.4.4.5), and its number
// does not depend on the NAT. A neighbour's local endpoint is better still: no NAT is between. If meanwhile the peer has sent data
// by the other path, that is taken from there, too.

const (
	// nonceLife is how long a nonce counts after it was sent: as long as a whole search of the peer takes, whose bubbles may be
	// what gets through. Whoever has seen it later gains nothing.
	nonceLife = (transmissions + 1) * retryAfter
	// maxGuesses is how many wrong nonces make ours void. It bounds the chance of a guess to 1 in 65,536 for each nonce, and is
	// more than what a flood gets in before an honest answer comes.
	maxGuesses = 1 << 16
)

// proves reports whether the nonce of a bubble proves the path that the bubble has come by (X-SNS-08, X-SNS-11).
func (c *Client) proves(p *Peer, from netip.AddrPort, via uint8, said *trailers, now Stamp) bool {
	if p == nil || p.ext == nil || said.nonce == [4]byte{} || !p.ext.nonceLives(now) {
		return false
	}
	switch x := p.ext; {
	case said.nonce == x.nonceSent:
		return true
	case said.nonce == x.nonceUsed:
		return p.isAt(from, via) || x.usedByRandom && said.randomPort == 0 || c.isLocalAt(p, from, now)
	}
	return p.setup != nil && said.nonce == p.setup.rivalNonce && p.isAt(from, via)
}

func (x *extension) nonceLives(now Stamp) bool { return now-x.nonceSentAt < nonceLife }

// noteProof notes that a bubble has proven the path that it has come by, which may be another one than that in use.
func (p *Peer) noteProof(said *trailers, from netip.AddrPort, via uint8) {
	x := p.ext
	if said.nonce == x.nonceSent {
		x.nonceSent, x.second = [4]byte{}, 0
	} else if !p.isAt(from, via) {
		x.second = p.path.Load() &^ pathMarks
	}
	x.nonceUsed, x.usedByRandom = said.nonce, said.randomPort != 0
}

// noteStranger notes that a bubble has come from where the peer is not known to be: with the nonce that has proven its path, by
// another one of the peer's; with another nonce, from who guesses.
func (p *Peer) noteStranger(from netip.AddrPort, via uint8, nonce [4]byte, now Stamp) {
	if p == nil || p.ext == nil || nonce == [4]byte{} || !p.ext.nonceLives(now) {
		return
	}
	switch x := p.ext; {
	case nonce == x.nonceUsed:
		x.second = pathWord(from, via)
	case x.guesses < maxGuesses:
		x.guesses++
	default:
		x.nonceSent = [4]byte{}
	}
}

// isSecond reports whether the peer has proven to be at the endpoint, seen at the local port via, though its path is another.
func (p *Peer) isSecond(from netip.AddrPort, via uint8) bool {
	return p != nil && p.ext != nil && p.ext.second == pathWord(from, via)
}

// heedNonce takes the nonce of an indirect bubble that is to be answered.
func (x *extension) heedNonce(nonce [4]byte, now Stamp) {
	x.heeded = now
	if nonce == x.nonceReceived {
		return
	}
	if x.nonceReceived != [4]byte{} {
		x.nonceBefore, x.replaced = x.nonceReceived, now
	}
	x.nonceReceived = nonce
}
