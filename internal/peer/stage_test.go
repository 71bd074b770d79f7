package peer_test

import (
	"container/heap"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	service "github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

// stage is where the examples of RFC 6081 §6 are played: two clients behind NATs, and their servers. It writes down every
// datagram in the order of sending.
type stage struct {
	testing.TB
	now    time.Duration
	events events
	order  int
	script []*line
	net    *network
	actors []*actor
	relay  time.Duration             // from anywhere to a server, and from there to anywhere
	ports  map[netip.AddrPort]string // names
}

// line is a datagram in the script.
type line struct {
	text string
	lost bool // dropped on the way
}

// network is a part of the IPv4 internet in which addresses are unique.
type network struct {
	up   *stubNAT // nil: the public one
	host map[netip.Addr]station
}

// station takes the datagrams for its address. It reports false when it drops one.
type station interface {
	take(from, to netip.AddrPort, payload []byte) bool
}

// stubNAT translates between two networks.
type stubNAT struct {
	*stage
	outside, inside *network
	addr            netip.Addr
	symmetric       bool // a mapping for each destination
	restricted      bool // lets in what comes from an address that was sent to
	portRestricted  bool // and only from its port
	assign          func(local netip.AddrPort) uint16
	mappings        []*natMapping
}

type natMapping struct {
	local    netip.AddrPort
	external uint16
	remote   netip.AddrPort // of a symmetric NAT
	forward  bool           // was asked for, and lets everything in
	sentTo   map[netip.AddrPort]bool
}

// actor is a client on the stage.
type actor struct {
	*stage
	name          string
	at            *network
	addr          netip.Addr
	service       uint16
	open          map[uint16]uint8 // vias of the open ports
	nextPort      uint16
	c             *peer.Client
	own           netip.Addr
	mapped        netip.AddrPort
	server        netip.AddrPort
	secondary     netip.AddrPort
	out           peer.Output
	solicitations int
}

const stageHop = 10 * time.Millisecond

func newStage(t testing.TB) *stage {
	s := &stage{TB: t, relay: stageHop, ports: map[netip.AddrPort]string{}}
	s.net = &network{host: map[netip.Addr]station{}}
	return s
}

func (s *stage) after(d time.Duration, do func()) {
	s.order++
	heap.Push(&s.events, event{s.now + d, s.order, do})
}

// run lets time pass until the given moment.
func (s *stage) run(until time.Duration) {
	for {
		next, who := until, (*actor)(nil)
		if len(s.events) > 0 && s.events[0].at <= next {
			next = s.events[0].at
		}
		for _, a := range s.actors {
			if at, ok := a.c.Deadline(); ok && at.Sub(epoch) < next {
				next, who = at.Sub(epoch), a
			}
		}
		s.now = next
		switch {
		case who != nil:
			who.c.Tick(epoch.Add(s.now), &who.out)
			who.flush()
		case len(s.events) > 0 && s.events[0].at <= s.now:
			heap.Pop(&s.events).(event).do()
		default:
			return
		}
	}
}

// send carries a datagram into the network, and up through its NAT when the destination is not in it. arrived learns
// what becomes of it.
func (n *network) send(s *stage, from, to netip.AddrPort, payload []byte, arrived func(bool)) {
	if h := n.host[to.Addr()]; h != nil {
		hop := stageHop
		if from.Port() == teredo.Port || to.Port() == teredo.Port {
			hop = s.relay
		}
		s.after(hop, func() { arrived(h.take(from, to, payload)) })
		return
	}
	if n.up == nil || n.up.addr == to.Addr() { // no hairpinning
		arrived(false)
		return
	}
	n.up.outside.send(s, n.up.translate(from, to), to, payload, arrived)
}

// nat puts a NAT into a network, with a network of its own behind it.
func (s *stage) nat(outside *network, addr string, kind stubNAT) *stubNAT {
	n := &kind
	n.stage, n.outside, n.addr = s, outside, netip.MustParseAddr(addr)
	n.inside = &network{up: n, host: map[netip.Addr]station{}}
	outside.host[n.addr] = n
	return n
}

func (n *stubNAT) translate(local, remote netip.AddrPort) netip.AddrPort {
	var m *natMapping
	for _, o := range n.mappings {
		if n.symmetric && o.forward && o.local == local && !o.remote.IsValid() {
			o.remote = remote // what was asked for serves the first destination, the server (§3.2)
		}
		if o.local == local && (!n.symmetric && !o.forward || n.symmetric && o.remote == remote || !n.symmetric && o.forward) {
			m = o
		}
	}
	if m == nil {
		m = &natMapping{local: local, external: n.assign(local), remote: remote, sentTo: map[netip.AddrPort]bool{}}
		for n.used(m.external) {
			m.external++
		}
		n.mappings = append(n.mappings, m)
	}
	m.sentTo[remote] = true
	return netip.AddrPortFrom(n.addr, m.external)
}

func (n *stubNAT) used(external uint16) bool {
	for _, m := range n.mappings {
		if m.external == external {
			return true
		}
	}
	return false
}

// forward is what UPnP does: the port, with the same number outside, is open to everybody.
func (n *stubNAT) forward(local netip.AddrPort) netip.AddrPort {
	n.mappings = append(n.mappings, &natMapping{local: local, external: local.Port(), forward: true, sentTo: map[netip.AddrPort]bool{}})
	return netip.AddrPortFrom(n.addr, local.Port())
}

func (n *stubNAT) take(from, to netip.AddrPort, payload []byte) bool {
	for _, m := range n.mappings {
		if m.external != to.Port() {
			continue
		}
		open := m.forward || !n.restricted && !n.portRestricted && !n.symmetric || m.sentTo[from]
		for sent := range m.sentTo {
			open = open || n.restricted && sent.Addr() == from.Addr()
		}
		return open && n.inside.host[m.local.Addr()] != nil && n.inside.host[m.local.Addr()].take(from, m.local, payload)
	}
	return false
}

// stageServer is a server with two addresses.
type stageServer struct {
	*stage
	*service.Handler
	primary, secondary netip.Addr
}

func (s *stage) server(name, primary, second string) {
	v := &stageServer{stage: s, primary: netip.MustParseAddr(primary), secondary: netip.MustParseAddr(second)}
	var err error
	if v.Handler, err = service.NewHandler(service.Config{Primary: v.primary, Secondary: v.secondary, Filter: labs}); err != nil {
		s.Fatal(err)
	}
	s.net.host[v.primary], s.net.host[v.secondary] = v, v
	s.ports[netip.AddrPortFrom(v.primary, teredo.Port)] = name
	s.ports[netip.AddrPortFrom(v.secondary, teredo.Port)] = name + "'s second address"
}

func (v *stageServer) take(from, to netip.AddrPort, payload []byte) bool {
	local := service.Primary
	if to.Addr() == v.secondary {
		local = service.Secondary
	}
	d := v.Handle(local, from, payload, make([]byte, service.MaxOutput))
	if d.Action != service.Send {
		return false
	}
	source := v.primary
	if d.Local == service.Secondary {
		source = v.secondary
	}
	v.net.send(v.stage, netip.AddrPortFrom(source, teredo.Port), d.To, d.Payload, func(ok bool) {
		if !ok {
			v.Errorf("%v: what the server sends to %v is dropped", v.now, d.To)
		}
	})
	return true
}

// client puts a client into a network, which asks the primary and the secondary address of its server for its mapping.
func (s *stage) client(name string, at *network, local, primary, second string, e peer.Extensions, nat peer.NAT) *actor {
	nat.Local = netip.MustParseAddrPort(local)
	a := &actor{
		stage: s, name: name, at: at, addr: nat.Local.Addr(), service: nat.Local.Port(), nextPort: 1100,
		server:    netip.AddrPortFrom(netip.MustParseAddr(primary), teredo.Port),
		secondary: netip.AddrPortFrom(netip.MustParseAddr(second), teredo.Port),
	}
	a.open = map[uint16]uint8{a.service: 0}
	at.host[a.addr] = a
	ask := func(to netip.AddrPort) {
		a.send(0, to, teredo.AppendRouterSolicitation(nil, netip.MustParseAddr("fe80::1")))
	}
	ask(a.server)
	s.run(s.now + time.Second)
	seen := a.mapped
	ask(a.secondary)
	s.run(s.now + time.Second)
	nat.Symmetric, nat.PortPreserving, nat.Secondary = seen != a.mapped, seen.Port() == a.service, a.secondary
	a.mapped = seen
	if nat.External == seen {
		nat.External = netip.AddrPort{} // X-UPNP-06
	}
	_, cfg := newRig(s)
	cfg.Extensions = e
	cfg.Ports = peer.Ports{
		Open: func() (uint8, uint16, bool) {
			port := a.nextPort
			a.nextPort++
			a.open[port] = uint8(port - 1099)
			return a.open[port], port, true
		},
		Close: func(via uint8) { delete(a.open, 1099+uint16(via)) },
	}
	cfg.Drops = new(drop.Counters)
	a.own = teredo.Address{Server: a.server.Addr(), Mapped: seen}.Addr()
	a.c = peer.NewClient(epoch, cfg)
	a.c.SetAddress(a.own)
	a.c.SetNAT(nat)
	s.actors = append(s.actors, a)
	s.ports[seen], s.ports[nat.Local] = name, name+"'s local address"
	s.script = nil
	return a
}

func (a *actor) send(via uint8, to netip.AddrPort, payload []byte) {
	payload = append([]byte(nil), payload...)
	port := a.service
	for p, v := range a.open {
		if v == via {
			port = p
		}
	}
	l := &line{text: a.describe(via, to, payload)}
	a.script = append(a.script, l)
	a.at.send(a.stage, netip.AddrPortFrom(a.addr, port), to, payload, func(ok bool) { l.lost = !ok })
}

// describe says what a datagram is: who sends which kind of bubble with which trailers, from which port to where.
func (a *actor) describe(via uint8, to netip.AddrPort, payload []byte) string {
	var p teredo.Packet
	if p.Parse(payload) != nil {
		a.Fatalf("%s sends %x", a.name, payload)
	}
	where := a.ports[to]
	if where == "" {
		where = to.String()
	}
	if teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterSolicitation) {
		a.solicitations++
		return fmt.Sprintf("%s: solicitation%s to %s", a.name, fromPort(via), where)
	}
	if teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6EchoRequest) {
		return fmt.Sprintf("%s: test%s to %s", a.name, fromPort(via), where)
	}
	if !teredo.IsBubble(p.IPv6) {
		return fmt.Sprintf("%s: data%s to %s", a.name, fromPort(via), where)
	}
	kind := "direct"
	if to.Port() == teredo.Port {
		kind = "indirect"
	}
	var trailers []string
	for b := p.Trailers; len(b) > 0; {
		t, rest, ok := teredo.NextTrailer(b)
		if !ok {
			a.Fatalf("%s sends trailers %x", a.name, p.Trailers)
		}
		b = rest
		if _, ok := t.Nonce(); ok {
			trailers = append(trailers, "nonce")
		} else if port, ok := t.RandomPort(); ok {
			trailers = append(trailers, fmt.Sprintf("port %d", port))
		} else if list, ok := t.AlternateAddresses(nil); ok {
			trailers = append(trailers, "alternates "+strings.Trim(fmt.Sprint(list), "[]"))
		} else if kind, ok := t.NeighborDiscovery(); ok {
			trailers = append(trailers, []string{"solicitation", "advertisement"}[kind])
		}
	}
	text := fmt.Sprintf("%s: %s%s to %s", a.name, kind, fromPort(via), where)
	if len(trailers) > 0 {
		text += " [" + strings.Join(trailers, ", ") + "]"
	}
	return text
}

func fromPort(via uint8) string {
	if via == 0 {
		return ""
	}
	return fmt.Sprintf(" from random port %d", 1099+uint16(via))
}

func (a *actor) take(from, to netip.AddrPort, payload []byte) bool {
	via, open := a.open[to.Port()]
	var p teredo.Packet
	if !open || p.Parse(payload) != nil {
		return false
	}
	if a.c == nil {
		a.mapped = p.Origin
		return true
	}
	if incoming(a.c.Table(), payload, from, via, peer.Stamp(a.now)) == peer.Carry {
		if reply := teredo.AppendEchoReply(nil, a.own, payload); len(reply) > 0 {
			a.carry(reply)
		}
		return true
	}
	a.c.InboundVia(epoch.Add(a.now), from, via, &p, &a.out)
	a.flush()
	return true
}

func (a *actor) flush() {
	for _, d := range a.out.UDP.Datagrams() {
		a.send(d.Via, d.Remote, d.Payload)
	}
	a.out.Reset()
}

// talk sends a data packet to another client.
func (a *actor) talk(to *actor) {
	a.carry(data(a.own, to.own, 1))
}

// carry is what becomes of a packet of the client's stack.
func (a *actor) carry(packet []byte) {
	if to, via, v := a.c.Table().Outgoing(packet, 1, len(packet), peer.Stamp(a.now)); v != peer.Ask {
		a.send(via, to, packet)
		return
	}
	a.c.Outbound(epoch.Add(a.now), packet, &a.out)
	a.flush()
}

// plays compares the script with the play. In want, a line that begins with + is an addition to the RFC's figure, and one
// that ends in x is dropped on the way.
func (s *stage) plays(want ...string) {
	s.Helper()
	var got, all []string
	for _, l := range s.script {
		if l.lost {
			l.text += " x"
		}
		got = append(got, l.text)
	}
	for _, w := range want {
		_, text, _ := strings.Cut(w, " ")
		all = append(all, text)
	}
	if diff := cmp.Diff(all, got); diff != "" {
		s.Fatalf("(-want +got):\n%s", diff)
	}
	s.script = nil
}

// knows is what the client knows of another one.
func (a *actor) knows(other *actor) peer.Info {
	i, _ := a.c.Peer(epoch.Add(a.now), other.own)
	return i
}
