package peer

import (
	"net/netip"
	"slices"

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
	PortPreserving bool           // the mapped port is the local one
	PortMapping    bool           // the gateway granted a mapping for the service port (UPnP-Enabled NAT flag)
	External       netip.AddrPort // the mapping granted, unless it is the one that the server sees (X-UPNP-06): then zero
	Local          netip.AddrPort // local address and service port
	Secondary      netip.AddrPort // secondary address of the server; zero: none
}

// Ports opens and closes UDP ports besides the service port. Via 0 is the service port.
type Ports struct {
	Open  func() (via uint8, port uint16, ok bool) // ok is false when there are too many already
	Close func(via uint8)
}

// SetNAT tells what qualification and the gateway have told about the NAT.
func (c *Client) SetNAT(n NAT) { c.nat = n }

// extension is what local discovery (RFC 4380 §5.2.8) and RFC 6081 keep for a Teredo peer.
type extension struct {
	local     uint64 // endpoint of the last discovery bubble from the peer; zero: none came
	localSeen Stamp

	nonceSent     [4]byte   // in the last indirect bubble to the peer; zero: none was sent, or it has proven a path, or is void
	nonceSentAt   Stamp     // when it was sent
	guesses       int       // bubbles with another nonce from elsewhere since then
	nonceUsed     [4]byte   // the nonce of ours that has proven the path; zero: none has
	proven        uint64    // path by which the peer has proven to be there; zero: none
	usedByRandom  bool      // it came from the peer's random port
	second        uint64    // path by which the peer has sent the same nonce later; zero: none
	nonceReceived [4]byte   // in the last indirect bubble from the peer; zero: none
	nonceBefore   [4]byte   // in the one before; zero: none
	replaced      Stamp     // when the one took the place of the other
	heeded        Stamp     // when the last indirect bubble came that was answered
	asked         bool      // an indirect bubble has come from the peer
	alternates    [4]uint64 // endpoints that the peer says it has, too (§5.6); zero: none
	symmetricPeer bool      // the peer was seen at another endpoint than its address says
	solicited     uint8     // Neighbor Discovery solicitations sent (§5.7)

	via             uint8  // our random port for the peer; zero: none is open
	localPort       uint16 // its number
	portUsed        bool   // something has left from it, for which the NAT has made a mapping
	randomPort      uint16 // its predicted external number, as advertised; zero: not known
	peerRandomPort  uint16 // the peer's, as advertised
	receivedPrimary bool   // the peer was last heard at the service port
	receivedRandom  bool   // or at the random port
	refreshes       uint8  // direct bubbles since data was last sent (§5.4.2.1)
	dataSent        uint64 // count of data packets at the last refresh

	echo echoTest
}

// isAlternate reports whether a peer has said that it has the endpoint (X-HP-04).
func (p *Peer) isAlternate(from netip.AddrPort) bool {
	return p != nil && p.ext != nil && slices.Contains(p.ext.alternates[:], endpointWord(from))
}

// setAlternates takes the list of an Alternate Address Trailer in place of the last one.
func (x *extension) setAlternates(list []netip.AddrPort) {
	if len(list) == 0 {
		return
	}
	x.alternates = [4]uint64{}
	for i, a := range list {
		x.alternates[i] = endpointWord(a)
	}
}

// extend returns the peer's extension state, making it when there is none.
func (p *Peer) extend() *extension {
	if p.ext == nil {
		p.ext = new(extension)
	}
	return p.ext
}

// sequential reports whether random ports need an echo test to be of use.
func (c *Client) sequential() bool {
	return c.cfg.Extensions.Sequential && c.nat.Symmetric && !c.nat.PortPreserving && c.nat.Secondary.IsValid()
}

// preserving reports whether random ports can be expected to keep their number in our symmetric NAT.
func (c *Client) preserving() bool {
	return c.cfg.Extensions.PortPreserving && c.nat.Symmetric && c.nat.PortPreserving
}

// nonces reports whether bubbles carry nonces, which two of the extensions need.
func (c *Client) nonces() bool { return c.cfg.Extensions.SymmetricNAT || c.cfg.Extensions.Hairpinning }

// asymmetric reports whether packets for the peer go to the mapping in its address although its packets come from another
// endpoint: both are behind UPnP-enabled symmetric NATs, which let in what is sent to the mapping asked for (X-UPNP-08). A
// peer that is seen at its local address is behind our own NAT.
func (c *Client) asymmetric(p *Peer, from netip.AddrPort, now Stamp) bool {
	return c.cfg.Extensions.UPnP && c.nat.Symmetric && c.nat.PortMapping && !c.nat.External.IsValid() &&
		p.ext != nil && p.ext.symmetricPeer && c.cfg.Filter.Global(from.Addr()) && !c.isLocalAt(p, from, now)
}

// trailers is what the trailers of a bubble say.
type trailers struct {
	nonce      [4]byte // zero: none
	randomPort uint16  // zero: none
	discovery  uint8
	hasND      bool
	alternates [4]netip.AddrPort
	nalternate int
	malformed  bool // an Alternate Address Trailer that is none (X-HP-06)
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
			ts.discovery, ts.hasND = kind, true
		} else if t.Type == teredo.TrailerAlternateAddress {
			list, ok := t.AlternateAddresses(ts.alternates[:0])
			ts.nalternate, ts.malformed = len(list), ts.malformed || !ok
		}
	}
}
