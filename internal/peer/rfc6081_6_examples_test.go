package peer_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
)

// The examples of RFC 6081 §6, packet by packet. A line begins with the number of the packet in the RFC's figure; + stands for one
// that the figure does not have, and x at the end for one that a NAT drops. The figures end when both sides have a path;
// the data packet that the play began with follows them.

// The servers of the examples, with two addresses each.
func (s *stage) servers() {
	s.server("A's server", "203.0.113.120", "203.0.113.121")
	s.server("B's server", "198.51.100.118", "198.51.100.119")
}

func (s *stage) clientA(at *network, local string, e peer.Extensions, nat peer.NAT) *actor {
	return s.client("A", at, local, "203.0.113.120", "203.0.113.121", e, nat)
}

func (s *stage) clientB(at *network, local string, e peer.Extensions, nat peer.NAT) *actor {
	return s.client("B", at, local, "198.51.100.118", "198.51.100.119", e, nat)
}

func preserve(local netip.AddrPort) uint16 { return local.Port() }

// scatter assigns ports that cannot be predicted.
func scatter(first uint16) func(netip.AddrPort) uint16 {
	return func(netip.AddrPort) uint16 { first += 977; return first }
}

// count assigns one port after the other.
func count(first uint16) func(netip.AddrPort) uint16 {
	return func(netip.AddrPort) uint16 { first++; return first }
}

// §6.1, X-SNS-03: A behind a port-symmetric NAT, B behind an address-restricted one.
func TestExample61(t *testing.T) {
	s := newStage(t)
	s.servers()
	a := s.clientA(s.nat(s.net, "192.0.2.1", stubNAT{symmetric: true, assign: scatter(4096)}).inside, "10.0.0.1:1000", onlyNonces, peer.NAT{})
	b := s.clientB(s.nat(s.net, "192.0.2.10", stubNAT{restricted: true, assign: scatter(8192)}).inside, "10.0.0.1:1000", onlyNonces, peer.NAT{})
	a.talk(b)
	s.run(s.now + 1900*time.Millisecond)
	s.plays(
		"1 A: direct to B x",
		"2 A: indirect to B's server [nonce]",
		"3 B: direct to A [nonce] x",
		"4 B: indirect to A's server [nonce]",
		"5 A: direct to B [nonce]",
	)
	learned := b.knows(a).Endpoint
	if learned.Addr() != a.mapped.Addr() || learned.Port() == a.mapped.Port() {
		t.Errorf("B has A at %v, its address says %v", learned, a.mapped)
	}
	s.run(s.now + 5*time.Second)
	at := learned.String()
	s.plays(
		"+ A: direct to B [nonce]", // with each indirect bubble goes a direct one (RFC 4380 §5.2.4)
		"6 A: indirect to B's server [nonce]",
		"7 B: direct to "+at+" [nonce]",
		"data A: data to B",
		"+ A: test to B", // behind a symmetric NAT, A makes sure that its packets arrive (see Client.doubt)
		"+ B: data to "+at,
	)
}

// §6.2: both behind UPnP-enabled port-symmetric NATs.
func TestExample62(t *testing.T) {
	s := newStage(t)
	s.servers()
	e := peer.Extensions{SymmetricNAT: true, UPnP: true}
	behind := func(addr, local string, client func(*network, string, peer.Extensions, peer.NAT) *actor) *actor {
		n := s.nat(s.net, addr, stubNAT{symmetric: true, assign: scatter(20000)})
		external := n.forward(netip.MustParseAddrPort(local))
		return client(n.inside, local, e, peer.NAT{PortMapping: true, External: external})
	}
	// The example has it that the server sees the mapping that was asked for.
	a, b := behind("192.0.2.1", "10.0.0.1:4096", s.clientA), behind("192.0.2.10", "10.0.0.1:8192", s.clientB)
	a.talk(b)
	s.run(s.now + 1900*time.Millisecond)
	s.plays(
		"1 A: direct to B",
		"2 A: indirect to B's server [nonce]",
		"3 B: direct to A [nonce]",
		"+ B: indirect to A's server [nonce]", // B has no proof of A's path yet, so it asks for one
		"data A: data to B",
		"+ A: direct to B [nonce]", // and gets it
	)
	for x, other := range map[*actor]*actor{a: b, b: a} {
		if i := x.knows(other); i.State != "trusted" || i.Endpoint != other.mapped {
			t.Errorf("%s has the other one at %v, %s", x.name, i.Endpoint, i.State)
		}
	}
}

// §6.3, X-PP-05: both behind port-preserving symmetric NATs.
func TestExample63(t *testing.T) {
	s := newStage(t)
	s.servers()
	a := s.clientA(s.nat(s.net, "192.0.2.1", stubNAT{symmetric: true, assign: preserve}).inside, "10.0.0.1:4096", ported, peer.NAT{})
	b := s.clientB(s.nat(s.net, "192.0.2.10", stubNAT{symmetric: true, assign: preserve}).inside, "10.0.0.1:8192", ported, peer.NAT{})
	a.nextPort, b.nextPort = 1110, 1150 // so that the script tells them apart
	a.talk(b)
	s.run(s.now + 1900*time.Millisecond)
	s.plays(
		"1 A: direct to B x",
		"2 A: indirect to B's server [nonce, port 1110]",
		"3 B: direct to A [nonce] x",
		"4 B: direct from random port 1150 to 192.0.2.1:1110 [nonce, port 1150] x",
		"5 B: indirect to A's server [nonce, port 1150]",
		"6 A: direct to B [nonce] x",
		"7 A: direct from random port 1110 to 192.0.2.10:1150 [nonce, port 1110]",
	)
	s.run(s.now + 5*time.Second)
	s.plays(
		"+ A: direct to B [nonce] x", // with each indirect bubble go direct ones (RFC 4380 §5.2.4, RFC 6081 §5.4.4.3)
		"+ A: direct from random port 1110 to 192.0.2.10:1150 [nonce, port 1110]",
		"8 A: indirect to B's server [nonce, port 1110]",
		"9 B: direct from random port 1150 to 192.0.2.1:1110 [nonce, port 1150]",
		"+ A: direct from random port 1110 to 192.0.2.10:1150 [nonce, port 1110]", // goes before the data, in case that 7 was lost
		"data A: data from random port 1110 to 192.0.2.10:1150",
	)
}

// §6.4, X-SEQ-02, X-PP-16: A behind a sequential port-symmetric NAT, B behind a port-restricted one.
func TestExample64(t *testing.T) {
	s := newStage(t)
	s.servers()
	s.relay = stageHop / 4 // in the figure, 9 arrives before 10
	a := s.clientA(s.nat(s.net, "192.0.2.1", stubNAT{symmetric: true, assign: count(1196)}).inside, "10.0.0.1:4096", predicted, peer.NAT{})
	b := s.clientB(s.nat(s.net, "192.0.2.10", stubNAT{portRestricted: true, assign: count(2099)}).inside, "10.0.0.1:8192", predicted, peer.NAT{})
	a.talk(b)
	s.run(s.now + 1900*time.Millisecond)
	s.plays(
		"1 A: direct to B x",
		"2 A: solicitation from random port 1100 to A's server", // answered by 3
		"4 A: direct from random port 1100 to B x",
		"5 A: solicitation from random port 1100 to A's server's second address", // answered by 6
		"7 A: indirect to B's server [nonce, port 1201]",
		"8 B: direct to A [nonce] x",
		"9 B: indirect to A's server [nonce]", // the RFC has it without trailers, and demands a nonce
		"10 B: direct to 192.0.2.1:1201 [nonce]",
		"+ A: direct to B [nonce] x", // the answer to 9, from the service port
		"11 A: direct from random port 1100 to B [nonce, port 1201]",
		"data A: data from random port 1100 to B",
	)
	if i := b.knows(a); i.Endpoint.String() != "192.0.2.1:1201" || i.State != "trusted" {
		t.Errorf("B has A at %v, %s", i.Endpoint, i.State)
	}
}

// §6.5, X-HP-05: A and B behind UPnP-enabled NATs of their own, and both behind one that does not hairpin.
func TestExample65(t *testing.T) {
	s := newStage(t)
	s.servers()
	e := peer.Extensions{SymmetricNAT: true, UPnP: true, Hairpinning: true}
	outer := s.nat(s.net, "198.51.100.18", stubNAT{portRestricted: true, assign: count(4095)})
	f := s.nat(outer.inside, "192.168.1.1", stubNAT{portRestricted: true, assign: preserve})
	g := s.nat(outer.inside, "192.168.1.2", stubNAT{portRestricted: true, assign: preserve})
	a := s.clientA(f.inside, "10.0.0.1:4095", e, peer.NAT{PortMapping: true, External: f.forward(netip.MustParseAddrPort("10.0.0.1:4095"))})
	b := s.clientB(g.inside, "10.0.0.2:4096", e, peer.NAT{PortMapping: true, External: g.forward(netip.MustParseAddrPort("10.0.0.2:4096"))})
	a.talk(b)
	s.run(s.now + 5*time.Second)
	s.plays(
		"1 A: direct to B x",
		"2 A: indirect to B's server [nonce, alternates 10.0.0.1:4095 192.168.1.1:4095]",
		"3 B: direct to A [nonce] x",
		"4 B: direct to A's local address [nonce] x",
		"5 B: direct to 192.168.1.1:4095 [nonce]",
		"6 B: indirect to A's server [nonce, alternates 10.0.0.2:4096 192.168.1.2:4096]",
		"data A: data to 192.168.1.2:4096",
		"7 A: direct to 192.168.1.2:4096 [nonce]",
	)
}

// §6.6, X-SLR-03, K-16: A and B have had a path, and no data for more than 30 s.
func TestExample66(t *testing.T) {
	s := newStage(t)
	s.servers()
	a := s.clientA(s.nat(s.net, "192.0.2.1", stubNAT{portRestricted: true, assign: scatter(4096)}).inside, "10.0.0.1:4096", reduced, peer.NAT{})
	b := s.clientB(s.nat(s.net, "192.0.2.10", stubNAT{portRestricted: true, assign: scatter(8192)}).inside, "10.0.0.1:8192", reduced, peer.NAT{})
	a.talk(b)
	s.run(s.now + 40*time.Second)
	s.script = nil
	a.talk(b)
	s.run(s.now + 5*time.Second)
	s.plays(
		"1 A: direct to B [nonce, solicitation]",
		"2 B: direct to A [nonce, advertisement]",
		"data A: data to B",
	)
}
