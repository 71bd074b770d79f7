package peer

import (
	"net/netip"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

// Extensions are the optional parts of RFC 6081 that a client uses. UPnP and PortPreserving need SymmetricNAT, and
// Sequential needs PortPreserving (X-COM-01).
type Extensions struct {
	SymmetricNAT   bool // §5.2: nonces in bubbles tell the path of a peer whose NAT has a mapping for each destination
	UPnP           bool // §5.3: the mapping that the gateway was asked for lets packets in
	PortPreserving bool // §5.4: a random port for each peer, which the NAT is expected to keep
	Sequential     bool // §5.5: a random port for each peer, whose mapping is predicted
	Hairpinning    bool // §5.6: peers behind the same NAT learn each other's local addresses
	LoadReduction  bool // §5.7: an idle path is tried directly before a server is asked
}

// NAT is what is known about the client's own NAT.
type NAT struct {
	Symmetric      bool           // the two addresses of the server saw different mappings
	Tested         bool           // it is known whether it is symmetric
	PortPreserving bool           // the mapped port is the local one
	Sequential     bool           // the two mappings were next to each other, as far as that is known
	PortMapping    bool           // the gateway granted a mapping for the service port (UPnP-Enabled NAT flag)
	External       netip.AddrPort // the mapping granted, unless it is the one that the server sees (X-UPNP-06): then zero
	Local          netip.AddrPort // local address and service port
	Secondary      netip.AddrPort // secondary address of the server; zero: none
}

// SetNAT tells what qualification and the gateway have told about the NAT.
func (c *Client) SetNAT(n NAT) { c.nat = n }

// extension is what RFC 6081 has a client keep of a Teredo peer.
type extension struct {
	nonces
	symmetric  bool        // §5.3: the peer was seen at another endpoint than its address says
	random     randomPort  // §5.4
	echo       echoTest    // §5.5
	alternates [4]endpoint // §5.6: endpoints that the peer says it has, too; zero: none
	solicited  uint8       // §5.7: Neighbor Discovery solicitations sent
}

// pathTests are tests of a path that RFC 6081 makes necessary.
type pathTests struct {
	migration migration
	oneWay    oneWayTest
}

// trailers is what the trailers of a packet say (RFC 6081 §4).
type trailers struct {
	nonce      nonce  // zero: none
	randomPort uint16 // zero: none
	solicits   bool   // the last Neighbor Discovery option is a solicitation
	alternates [4]netip.AddrPort
	nalternate int
	malformed  bool // an Alternate Address Trailer that is none (X-HP-06)
	discard    bool // one of an unknown type says that the packet must be discarded (X-TRL-02)
}

// parseTrailers reads trailers in order (X-TRL-01). Of several of a kind the last counts.
func parseTrailers(b []byte) (ts trailers) {
	for {
		t, rest, ok := teredo.NextTrailer(b)
		if !ok {
			return ts
		}
		b = rest
		if nonce, ok := t.Nonce(); ok {
			ts.nonce = nonce
		} else if port, ok := t.RandomPort(); ok {
			ts.randomPort = port
		} else if kind, ok := t.NeighborDiscovery(); ok {
			ts.solicits = kind == teredo.DiscoverySolicitation
		} else if t.Type == teredo.TrailerAlternateAddress {
			list, ok := t.AlternateAddresses(ts.alternates[:0])
			ts.nalternate, ts.malformed = len(list), ts.malformed || !ok
		}
		ts.discard = ts.discard || t.Discard()
	}
}

// heed takes note of the trailers of an indirect bubble that is to be answered. It returns the alternate addresses to which direct
// bubbles are to go, too.
func (c *Client) heed(p *Peer, said *trailers, now Stamp) (alternates []netip.AddrPort) {
	if c.extensions.Hairpinning {
		alternates = said.alternates[:said.nalternate]
	}
	if c.nonces() {
		d := p.ensureDetails()
		d.asked = true
		d.takeNonce(said.nonce, now) // X-SNS-05, X-SNS-06
		c.takeRandomPort(p, said.randomPort, now)
		d.setAlternates(alternates)
	}
	if c.sequential() && p.trusted() && !p.valid(now) {
		p.noPath()
		c.resetPort(p) // our NAT may have forgotten the mapping that was predicted
	}
	if p.valid(now) {
		return nil
	}
	return alternates
}

// directBubble takes the path of a Teredo peer from a bubble that came directly (RFC 6081 §5.2.4.4, §5.3.4.1, §5.4.4.5,
// §5.7.4.2). The peer has an entry, and is known to be there, or the bubble has a nonce of ours.
func (c *Client) directBubble(d *datagram, now Stamp, out *Output) drop.Reason {
	p := d.peer
	if !p.mayMove(d.at, d.verified, now) {
		switch {
		case !d.verified || p.migrating():
			return drop.UnknownPeer
		case d.trailers.nonce != p.details.used:
			c.startMigration(d, now, out)
			return drop.None
		}
	}
	if d.verified {
		d.noteVerified()
	}
	sent := p.firstHeld()
	switch {
	case p.search != nil && p.search.tests.oneWay.packet != nil && p.isAt(d.at):
		p.received.Store(now) // one more bubble does not show that data gets through
	case c.usesPorts(p):
		if why := c.chooseLocalPort(p, d.at, d.verified, now, out); why != drop.None {
			return why
		}
	default:
		c.learn(p, d.at, d.verified, now, out) // X-SNS-09
	}
	c.testOneWay(p, sent, now)
	if d.trailers.solicits && c.extensions.LoadReduction {
		c.advertise(p, now, out)
	}
	return drop.None
}
