package peer

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/teredo-suite/teredo/teredo"
)

// Cause says in one word why there is no path to a peer, or why no answer comes by it.
type Cause string

// Causes that the rules find.
const (
	Refused      Cause = "refused"       // somebody on the way, or the peer itself, has answered with an ICMPv6 error
	ServerSilent Cause = "server-silent" // the client's own server does not answer
	NoRelay      Cause = "no-relay"      // the tests of a native host are unanswered
	Policy       Cause = "policy"        // nothing may be sent to the address
	BothNATs     Cause = "nats"          // the peer answers through the servers, but the NATs let nothing through directly
	OneWay       Cause = "one-way"       // bubbles of the peer come in, but nothing answers what is sent to it
	Silent       Cause = "silent"        // the peer does not answer through its server either
)

// refusal is an ICMPv6 error about one of our own Echo Requests.
type refusal struct {
	by         netip.Addr
	kind, code uint8
}

// String says who has refused what.
func (r *refusal) String() string {
	return fmt.Sprintf("%v has answered with the ICMPv6 error %q", r.by, errorName(r.kind, r.code))
}

// errorName is what RFC 4443 §3 calls an ICMPv6 error.
func errorName(kind, code uint8) string {
	unreachable := []string{
		"no route to destination", "administratively prohibited", "beyond scope of source address", "address unreachable",
		"port unreachable", "source address failed ingress/egress policy", "reject route to destination",
	}
	switch {
	case kind == teredo.ICMPv6Unreachable && int(code) < len(unreachable):
		return unreachable[code]
	case kind == 3 && code == 0:
		return "hop limit exceeded in transit"
	}
	return fmt.Sprintf("type %d code %d", kind, code)
}

// Refusal says in a sentence that an ICMPv6 error was the answer, and from whom it came.
func Refusal(by netip.Addr, e teredo.ICMPv6Error) string {
	r := refusal{by, e.Type, e.Code}
	return capital(r.String()) + "."
}

// refuses reports whether a packet is an ICMPv6 error about the running connectivity test of a peer, and notes it. Only who has seen
// the test can quote its nonce. The search goes on, as another attempt may get through.
func (c *Client) refuses(packet []byte) bool {
	e, err := teredo.ParseICMPv6Error(packet)
	if err != nil {
		return false
	}
	test, err := teredo.ParseEcho(e.Invoking)
	if err != nil || test.Type != teredo.ICMPv6EchoRequest || test.ID != c.table.testID {
		return false
	}
	p := c.table.lookup(destinationOf(e.Invoking))
	if p == nil || p.search == nil || !p.search.testing || string(test.Data) != string(p.search.nonce[:]) {
		return false
	}
	p.search.refusal = &refusal{teredo.Source(packet), e.Type, e.Code}
	return true
}

// cause is why the search for a path to the peer has ended without one.
func (c *Client) cause(p *Peer) Cause {
	s := p.search
	switch {
	case s.refusal != nil:
		return Refused
	case s.tests.oneWay.packet != nil:
		return OneWay
	case p.isTeredo() && s.indirect:
		return BothNATs
	case c.serverSilent:
		return ServerSilent
	case !p.isTeredo():
		return NoRelay
	case c.refusePeer(p.key) != 0:
		return Policy
	}
	return Silent
}

// noteIndirect notes an indirect bubble of the peer, with the origin that our server has seen.
func (s *search) noteIndirect(origin netip.AddrPort) {
	s.indirect = true
	if origin.Addr().Is4() {
		s.origin = endpointOf(origin)
	}
}

// SetServerSilent says whether the client's server has ceased to answer.
func (c *Client) SetServerSilent(silent bool) { c.serverSilent = silent }

// Explain says in a sentence what a cause means for the path to a peer.
func (c *Client) Explain(cause Cause, peer netip.Addr) string {
	k := keyOf(peer)
	server := c.server.addr()
	switch p := c.table.lookup(k); cause {
	case ServerSilent:
		return fmt.Sprintf("The server %v does not answer this client, and without it no path is found.", server)
	case NoRelay:
		return fmt.Sprintf("No relay has brought an answer: %v answers no ICMPv6 Echo Request, or its network has no route to a relay "+
			"(2001::/32), or the server %v has no native IPv6.", peer, server)
	case Policy:
		return c.explainPolicy(k)
	case BothNATs:
		return c.explainNATs(p)
	case Silent:
		_, row := c.ownNAT()
		return fmt.Sprintf("Nothing has come back from %v, neither directly nor through its server %v: the client there is off or has another "+
			"address by now, its server does not work, or the two NATs let nothing through%s.", peer, k.server().addr(), row)
	case OneWay:
		kind, row := c.ownNAT()
		return fmt.Sprintf("Bubbles come in from %v, but nothing answers the packets to it: the NAT there lets none in, as this NAT is %s%s; "+
			"or the host is silent.", peer, kind, row)
	case Refused:
		if p != nil && p.search != nil && p.search.refusal != nil {
			return capital(p.search.refusal.String()) + "."
		}
	}
	return ""
}

// explainPolicy says why nothing is sent to an address.
func (l *list) explainPolicy(k key) string {
	m, server := k.mapped(), k.server().addr()
	switch {
	case !k.isTeredo():
		return fmt.Sprintf("Nothing is sent to %v: it is not a global unicast IPv6 address.", k.addr())
	case m.port() == 0:
		return fmt.Sprintf("Nothing is sent to %v: the mapped port in it is 0.", k.addr())
	case !l.filter.Global(m.addr()):
		return fmt.Sprintf("Nothing is sent to %v: the mapped address in it, %v, is not a public IPv4 address.", k.addr(), m.addr())
	case !l.filter.Global(server):
		return fmt.Sprintf("Nothing is sent to %v: the server's address in it, %v, is not a public IPv4 address.", k.addr(), server)
	}
	return fmt.Sprintf("Nothing is sent to %v: the mapped address and port in it, %v, are those of this client itself.", k.addr(), m.addrPort())
}

// Kinds of NAT, as far as it matters for two clients that cannot reach each other.
const (
	symmetric  = "symmetric"
	restricted = "port-restricted"
	either     = symmetric + " or " + restricted
)

// explainNATs says which kinds of NAT keep two clients apart, as far as that is known. The rows are those of the NAT matrix, which is
// figure 1 of RFC 6081.
func (c *Client) explainNATs(p *Peer) string {
	own, row := c.ownNAT()
	other := c.natOf(p)
	if own == restricted && other == either {
		other = symmetric // else bubbles would open both
	}
	why := fmt.Sprintf("this NAT is %s%s, and the other one is %s", own, row, other)
	switch {
	case own == "":
		why = "this host is behind no NAT, so a firewall drops them, or the other NAT sends from several IPv4 addresses"
	case own == symmetric && other == symmetric:
		why = "both NATs are symmetric" + row
	case own == restricted && other == restricted:
		why = "neither NAT is symmetric, so perhaps a firewall drops UDP datagrams"
	case own == either:
		why += "; the kind of this NAT is not known, as the server has no second address that answers"
	}
	return "Both clients answer through their servers, but packets do not get through directly: " + why + "."
}

// ownNAT is the kind of the client's own NAT, empty if there is none, and its row of figure 1 in parentheses, as far as it is known.
func (c *Client) ownNAT() (kind, row string) {
	of := func(name string) string { return fmt.Sprintf(" (row %s of figure 1 of RFC 6081)", name) }
	switch n := &c.nat; {
	case n.Symmetric && n.PortMapping:
		return symmetric, of("UPnP port-symmetric")
	case n.Symmetric && n.PortPreserving:
		return symmetric, of("port-preserving")
	case c.sequential() && n.Sequential:
		return symmetric, of("sequential")
	case n.Symmetric:
		return symmetric, of("port-symmetric or address-symmetric")
	case n.Local.Addr().Is4() && endpointOf(n.Local) == c.mapped:
		return "", ""
	case !n.Tested:
		return either, ""
	case n.PortMapping:
		return restricted, of("UPnP port-restricted")
	}
	return restricted, of("address-restricted or port-restricted")
}

// natOf is the kind of a peer's NAT. Its mappings differ if our server sees another one than the peer's own server, or if the peer has
// opened a random port.
func (c *Client) natOf(p *Peer) string {
	switch {
	case p == nil || p.search == nil:
		return either
	case p.details != nil && (p.details.symmetric || p.details.random.peers != 0), p.search.origin != p.mapped() && p.search.origin != 0:
		return symmetric
	case p.search.origin == p.mapped() && p.server() != c.server:
		return restricted
	}
	return either
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
