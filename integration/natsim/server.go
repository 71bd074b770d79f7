package natsim

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/wild"
	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// Server is a Teredo server: the rules of package server at two addresses of the public internet, and at one of the native.
type Server struct {
	in        *Internet
	port      *port
	native    *port
	handler   *server.Handler
	wild      *wild.Server // in place of the handler, if it is not nil
	drops     drop.Counters
	down      bool
	noNative  bool
	prefix    netip.Prefix // of its clients' native addresses
	Primary   netip.Addr
	Secondary netip.Addr // zero: none
}

// ServerOption changes a server.
type ServerOption func(*Server)

// OneAddress leaves a server without a secondary address.
func OneAddress(s *Server) {
	s.Secondary = netip.Addr{}
	s.port.addrs = s.port.addrs[:1]
}

// NoNative leaves a server without native IPv6.
func NoNative(s *Server) { s.noNative = true }

// Wild makes a server answer as those of Microsoft do.
func Wild(s *Server) { s.wild = &wild.Server{Address: s.Primary} }

// WildRelay makes a server answer as that of trex.fi does, which is also a relay on port 3544. It has a native internet of its own,
// in which every address answers.
func WildRelay(s *Server) { s.wild = &wild.Server{Address: s.Primary, Relay: true} }

// ServerNative gives the clients of a server a native prefix.
func ServerNative(prefix netip.Prefix) ServerOption {
	return func(s *Server) { s.prefix = prefix }
}

// Server adds a server. Its secondary address is the one after the primary, unless options say otherwise.
func (in *Internet) Server(options ...ServerOption) (s *Server) {
	var err error
	in.do(func() {
		s = &Server{in: in}
		name := in.called("server")
		s.port = in.newPort(name, defaultDelay, s.receive)
		s.native = in.newPort(name, defaultDelay, func(p Packet) { in.trace.add(name, Received, "", p) })
		in.attach(s.port)
		s.port.addrs = append(s.port.addrs, in.giveOut())
		s.Primary, s.Secondary = s.port.addrs[0], s.port.addrs[1]
		in.native.attach(s.native)
		for _, o := range options {
			o(s)
		}
		s.handler, err = server.NewHandler(server.Config{Primary: s.Primary, Secondary: s.Secondary, Filter: Filter(), Native: s.prefix})
	})
	if err != nil {
		in.t.Fatal(err)
	}
	return s
}

// Lookup finds the server's addresses for a client. They never expire.
func (s *Server) Lookup(context.Context, tunnel.Servers) (tunnel.Servers, time.Duration, error) {
	return tunnel.Servers{Primary: s.Primary, Secondary: s.Secondary}, 0, nil
}

// Stop lets the server answer nothing, as when its program is not running.
func (s *Server) Stop() { s.in.do(func() { s.down = true }) }

// Start ends what Stop began.
func (s *Server) Start() { s.in.do(func() { s.down = false }) }

// SetLink changes the link to the public internet.
func (s *Server) SetLink(l Link) { s.in.do(func() { s.port.link = l }) }

// Drops counts what the server has dropped, by reason.
func (s *Server) Drops() map[string]uint64 { return s.drops.Snapshot() }

// receive is the server's loop.
func (s *Server) receive(p Packet) {
	switch {
	case s.down:
		s.in.trace.add(s.port.name, Dropped, "server stopped", p)
		return
	case p.Dst.Port() != teredo.Port:
		s.in.trace.add(s.port.name, Dropped, "no socket", p)
		return
	}
	s.in.trace.add(s.port.name, Received, "", p)
	local := slices.Index(s.port.addrs, p.Dst.Addr())
	if s.wild != nil {
		var out teredo.Outbox
		s.wild.Handle(uint8(local), p.Src, p.Payload, &out)
		s.send(&out)
		return
	}
	v := s.handler.Handle(local, p.Src, p.Payload, make([]byte, 0, server.MaxOutput))
	switch {
	case v.Action == server.Send:
		src := netip.AddrPortFrom(s.port.addrs[v.Local], teredo.Port)
		s.in.send(s.port, Packet{Src: src, Dst: v.To, TTL: defaultTTL, Payload: v.Payload})
	case v.Action == server.Native && !s.noNative:
		s.in.send(s.native, nativePacket(v.Payload))
	case v.Action == server.Native:
		s.drops.Count(drop.NoRoute)
	default:
		s.drops.Count(v.Reason)
	}
}

// Relay has a WildRelay carry a packet of a native host to a client.
func (s *Server) Relay(packet []byte) {
	s.in.do(func() {
		var out teredo.Outbox
		s.wild.Send(packet, &out)
		s.send(&out)
	})
}

// send sends the answers of a Wild server.
func (s *Server) send(out *teredo.Outbox) {
	for _, d := range out.Datagrams() {
		if int(d.Via) < len(s.port.addrs) {
			src := netip.AddrPortFrom(s.port.addrs[d.Via], teredo.Port)
			s.in.send(s.port, Packet{Src: src, Dst: d.Remote, TTL: defaultTTL, Payload: d.Payload})
		}
	}
}
