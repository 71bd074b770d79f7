// Package wild answers as the Teredo servers of others do that clients meet on the Internet, for tests: those of Microsoft and of
// trex.fi, as captures show them. They differ from package server within the limits of RFC 4380.
package wild

import (
	"encoding/binary"
	"net/netip"

	"github.com/teredo-suite/teredo/teredo"
)

// The addresses of a server, as Server.Handle numbers them. Datagram.Via tells which one an answer leaves from.
const (
	Primary   = 0
	Secondary = 1
)

const (
	hopLimit      = 21  // of the bubbles that a relay on port 3544 sends
	nativeHops    = 127 // of packets from native hosts, as clients see them
	udp           = 17
	advertisement = 88 // bytes of a router advertisement with a prefix and without MTU
	mostHeld      = 8  // packets that wait for the bubble of one client
)

// Server is a server at one address, or at two adjacent ones. Only Address must be set.
type Server struct {
	Address netip.Addr // the primary one

	// Relay makes it a relay, too. The relay sends from the server's port 3544, without an origin indication (RFC 4380 §5.3.1,
	// §5.4.3). Every native address behind it answers echo requests and returns UDP datagrams.
	Relay bool

	clients map[netip.Addr]*client
}

// client is what the relay knows about a client.
type client struct {
	heard bool     // a bubble has come from it, so packets may go there
	held  [][]byte // packets that wait for that
}

// Handle answers one UDP payload that came to one of the addresses.
func (s *Server) Handle(local uint8, from netip.AddrPort, payload []byte, out *teredo.Outbox) {
	var p teredo.Packet
	if p.Parse(payload) != nil {
		return
	}
	if teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterSolicitation) {
		s.advertise(local, from, &p, out)
		return
	}
	src, dst := teredo.Source(p.IPv6), teredo.Destination(p.IPv6)
	switch {
	case teredo.IsTeredo(dst):
		s.forward(from, dst, &p, out)
	case !s.Relay || teredo.Mapped(src) != from:
	case dst == teredo.ServerLinkLocal(s.Address):
		s.heard(src, out)
	default:
		if answer := answer(p.IPv6); answer != nil {
			s.Send(answer, out)
		}
	}
}

// Send carries a packet of a native host to a client: at once when a bubble has come from the client, else after the bubble that
// answers the relay's.
func (s *Server) Send(packet []byte, out *teredo.Outbox) {
	dst := teredo.Destination(packet)
	if c := s.clients[dst]; c != nil && c.heard {
		out.Send(teredo.Mapped(dst), append(out.Next(), packet...))
		return
	}
	if s.clients == nil {
		s.clients = make(map[netip.Addr]*client)
	}
	if s.clients[dst] == nil {
		s.clients[dst] = new(client)
	}
	c := s.clients[dst]
	if len(c.held) < mostHeld {
		c.held = append(c.held, packet)
	}
	self := netip.AddrPortFrom(s.Address, teredo.Port)
	bubble := teredo.AppendBubble(teredo.AppendOrigin(out.Next(), self), teredo.ServerLinkLocal(s.Address), dst, hopLimit)
	out.Send(teredo.Mapped(dst), bubble)
}

// heard handles the bubble of a client.
func (s *Server) heard(src netip.Addr, out *teredo.Outbox) {
	c := s.clients[src]
	if c == nil {
		return
	}
	c.heard = true
	for _, packet := range c.held {
		out.Send(teredo.Mapped(src), append(out.Next(), packet...))
	}
	c.held = nil
}

// forward forwards a bubble. Bubbles of clients get no origin indication.
func (s *Server) forward(from netip.AddrPort, dst netip.Addr, p *teredo.Packet, out *teredo.Outbox) {
	if !teredo.IsBubble(p.IPv6) {
		return
	}
	b := out.Next()
	if !teredo.IsTeredo(teredo.Source(p.IPv6)) {
		b = teredo.AppendOrigin(b, from)
	}
	b = append(b, p.IPv6...)
	out.Send(teredo.Mapped(dst), append(b, p.Trailers...))
}

// advertise answers a router solicitation: from the other address when the cone bit is 1.
func (s *Server) advertise(local uint8, from netip.AddrPort, p *teredo.Packet, out *teredo.Outbox) {
	src := teredo.Source(p.IPv6)
	if teredo.ConeBit(src) {
		local = 1 - local
	}
	b := out.Next()
	if p.HasAuth {
		b = teredo.AppendAuth(b, teredo.Auth{Nonce: p.Auth.Nonce})
	}
	b = teredo.AppendOrigin(b, from)
	out.SendVia(local, from, AppendAdvertisement(b, s.Address, src))
}

// AppendAdvertisement appends the router advertisement of a server to dst. Its prefix has bits set after the 64th.
func AppendAdvertisement(b []byte, server, dst netip.Addr) []byte {
	start := len(b)
	b = teredo.AppendRouterAdvertisement(b, server, dst)[:start+advertisement]
	ra := b[start:]
	teredo.PutPayloadLen(ra, advertisement-teredo.HeaderLen)
	message := ra[teredo.HeaderLen:]
	binary.BigEndian.PutUint32(message[8:], 15000) // reachable time
	binary.BigEndian.PutUint32(message[12:], 2000) // retransmission timer
	copy(message[16+24:], []byte{0xff, 0, 0, 0, 0, 0x20, 1, 0})
	binary.BigEndian.PutUint16(message[2:], 0)
	binary.BigEndian.PutUint16(message[2:], ^teredo.UpperLayerSum(ra))
	return b
}

// answer returns the answer of the native host that a packet is for, nil when there is none.
func answer(ipv6 []byte) []byte {
	b := teredo.AppendEchoReply(nil, teredo.Destination(ipv6), ipv6)
	if len(b) == 0 && teredo.NextHeader(ipv6) == udp && len(ipv6) >= teredo.HeaderLen+8 {
		b = append(b, ipv6...) // the checksum stays the same
		copy(teredo.SourceBytes(b), teredo.DestinationBytes(ipv6))
		copy(teredo.DestinationBytes(b), teredo.SourceBytes(ipv6))
		ports, swapped := ipv6[teredo.HeaderLen:], b[teredo.HeaderLen:]
		copy(swapped[:2], ports[2:])
		copy(swapped[2:], ports[:2])
	}
	if len(b) == 0 {
		return nil
	}
	teredo.PutHopLimit(b, nativeHops)
	return b
}
