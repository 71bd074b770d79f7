package peer_test

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	service "github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/teredo"
)

// internet is a small one, under virtual time: clients behind NATs, servers, relays and native hosts. It loses, repeats
// and reorders datagrams as its seed says. All nodes have an eye on them (see watch_test.go).
type internet struct {
	testing.TB
	random *rand.Rand
	now    time.Duration
	events events
	order  int

	loss, repeat float64
	reorder      bool
	unwatched    bool                                               // do not check the limits of bubbles
	lose         func(from, to netip.AddrPort, payload []byte) bool // nil, or picks datagrams to lose

	nodes   []*node
	at      map[netip.Addr]*node // by public IPv4 address
	servers map[netip.Addr]*service.Handler
	hosts   map[netip.Addr]*node // native hosts, by the relay that serves them
	packets []packet             // data packets, by their number
	flows   map[[2]netip.Addr]uint32
}

// packet is a data packet that some node sent.
type packet struct {
	src, dst          netip.Addr
	copies, delivered int // how often the net made it, and how often it arrived
}

// node is a client or a relay on the internet.
type node struct {
	*internet
	name    string
	m       machine
	client  *peer.Client // nil for a relay
	own     netip.Addr   // Teredo address of a client
	mapped  netip.AddrPort
	out     peer.Output
	opened  map[netip.AddrPort]time.Duration // where its NAT lets packets in from, and since when; nil: no NAT
	watches map[netip.Addr]*watch
}

// natLife is how long a NAT lets packets in after the last one out to the same endpoint.
const natLife = 60 * time.Second

type event struct {
	at    time.Duration
	order int
	do    func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newInternet(t testing.TB, seed uint64) *internet {
	in := &internet{
		TB: t, random: rand.New(rand.NewPCG(seed, 4380)), at: map[netip.Addr]*node{},
		servers: map[netip.Addr]*service.Handler{}, hosts: map[netip.Addr]*node{}, flows: map[[2]netip.Addr]uint32{},
	}
	for _, s := range []netip.AddrPort{server, peerServer} {
		h, err := service.NewHandler(service.Config{Primary: s.Addr(), Filter: labs})
		if err != nil {
			t.Fatal(err)
		}
		in.servers[s.Addr()] = h
	}
	return in
}

func (in *internet) config(capacity int) peer.Config {
	return peer.Config{Capacity: capacity, Filter: labs, Drops: new(drop.Counters), Rand: func(b []byte) {
		for i := range b {
			b[i] = byte(in.random.Uint32())
		}
	}}
}

func (in *internet) add(n *node) *node {
	n.internet, n.watches = in, map[netip.Addr]*watch{}
	in.nodes = append(in.nodes, n)
	in.at[n.mapped.Addr()] = n
	return n
}

func (in *internet) addClient(name string, mapped, via netip.AddrPort, capacity int, nat bool) *node {
	c := peer.NewClient(epoch, in.config(capacity))
	n := in.add(&node{name: name, m: c, client: c, mapped: mapped})
	if nat {
		n.opened = map[netip.AddrPort]time.Duration{}
	}
	n.move(via)
	return n
}

// move gives a client a new address of a server, with the same mapping.
func (n *node) move(via netip.AddrPort) {
	n.own = teredo.Address{Server: via.Addr(), Flags: uint16(n.random.Uint32()) & teredo.FlagRandomMask, Mapped: n.mapped}.Addr()
	n.client.SetAddress(n.own)
	n.watches = map[netip.Addr]*watch{}
	if n.opened != nil {
		n.opened[via] = 1 << 62 // maintenance keeps it open
	}
}

func (in *internet) addRelay(name string, at netip.AddrPort, capacity int, hosts ...netip.Addr) *node {
	n := in.add(&node{name: name, m: peer.NewRelay(epoch, relayAddr, in.config(capacity)), mapped: at})
	for _, h := range hosts {
		in.hosts[h] = n
	}
	return n
}

// after has something done later.
func (in *internet) after(d time.Duration, do func()) {
	in.order++
	heap.Push(&in.events, event{in.now + d, in.order, do})
}

// run lets time pass until the given moment.
func (in *internet) run(until time.Duration) {
	for spins := 0; ; spins++ {
		next, who := until, (*node)(nil)
		if len(in.events) > 0 && in.events[0].at <= next {
			next = in.events[0].at
		}
		for _, n := range in.nodes {
			if at, ok := n.m.Deadline(); ok && at.Sub(epoch) < next {
				next, who = at.Sub(epoch), n
			}
		}
		if next > in.now {
			in.now, spins = next, 0
		} else if spins > 10_000 {
			in.Fatalf("time stands still at %v", in.now)
		}
		switch {
		case who != nil:
			who.m.Tick(who.time(), &who.out)
			who.flush()
		case len(in.events) > 0 && in.events[0].at <= in.now:
			heap.Pop(&in.events).(event).do()
		default:
			return
		}
	}
}

func (in *internet) time() time.Time { return epoch.Add(in.now) }

// carry takes a datagram to its destination, or not.
func (in *internet) carry(from, to netip.AddrPort, payload []byte) {
	if in.lose != nil && in.lose(from, to, payload) {
		return
	}
	payload = append([]byte(nil), payload...)
	for copies := 1; copies > 0; copies-- {
		if in.random.Float64() < in.repeat {
			copies++
			in.copied(payload)
		}
		if in.random.Float64() < in.loss {
			continue
		}
		in.after(in.latency(from, to), func() { in.arrive(from, to, payload) })
	}
}

// latency is 5 to 68 ms, always the same between two addresses unless the internet reorders.
func (in *internet) latency(from, to netip.AddrPort) time.Duration {
	a, b := from.Addr().As4(), to.Addr().As4()
	d := 5*time.Millisecond + time.Duration((a[3]*7+b[3]*13)%64)*time.Millisecond + 1237*time.Nanosecond
	if in.reorder {
		d += time.Duration(in.random.Int64N(int64(200 * time.Millisecond)))
	}
	return d
}

func (in *internet) arrive(from, to netip.AddrPort, payload []byte) {
	if h := in.servers[to.Addr()]; h != nil && to.Port() == teredo.Port {
		var buf [service.MaxOutput]byte
		switch v := h.Handle(service.Primary, from, payload, buf[:]); v.Action {
		case service.Send:
			in.carry(to, v.To, v.Payload)
		case service.Native:
			in.native(append([]byte(nil), v.Payload...))
		}
		return
	}
	n := in.at[to.Addr()]
	if n == nil || n.mapped.Port() != to.Port() {
		return
	}
	if n.opened != nil {
		if since, open := n.opened[from]; !open || in.now-since > natLife {
			return
		}
	}
	n.receive(from, payload)
}

// native carries an IPv6 packet on the native side: to its host, or to the relay of the host that it comes from.
func (in *internet) native(packet []byte) {
	src, dst := teredo.Source(packet), teredo.Destination(packet)
	if in.hosts[dst] == nil {
		if relay := in.hosts[src]; relay != nil {
			in.after(time.Millisecond, func() { relay.outgoing(packet) })
		}
		return
	}
	if reply := teredo.AppendEchoReply(nil, dst, packet); len(reply) > 0 {
		in.after(time.Millisecond, func() { in.native(reply) })
		return
	}
	in.delivered(packet)
}

// outgoing is a packet of the client's own stack, or one that is routed to the relay.
func (n *node) outgoing(packet []byte) {
	to, _, action := n.m.Table().Outgoing(packet, 1, len(packet), n.m.Table().Stamp(n.time()))
	if action == peer.Ask {
		n.m.Outbound(n.time(), packet, &n.out)
	} else {
		n.out.UDP.Send(to, append(n.out.UDP.Next(), packet...))
		if action == peer.Refresh {
			n.m.Refresh(n.time(), packet, &n.out)
		}
	}
	n.flush()
}

func (n *node) receive(from netip.AddrPort, payload []byte) {
	n.heard(from, payload)
	if incoming(n.m.Table(), payload, from, 0, n.m.Table().Stamp(n.time())) == peer.Carry {
		n.out.TUN.Send(netip.AddrPort{}, append(n.out.TUN.Next(), payload...))
	} else {
		var p teredo.Packet
		if p.Parse(payload) != nil {
			return
		}
		n.m.Inbound(n.time(), from, &p, &n.out)
	}
	n.flush()
}

// flush sends and delivers what the machine has put into its output.
func (n *node) flush() {
	for _, d := range n.out.UDP.Datagrams() {
		n.sent(d.Remote, d.Payload)
		if n.opened != nil && n.opened[d.Remote] < n.now {
			n.opened[d.Remote] = n.now
		}
		n.carry(n.mapped, d.Remote, d.Payload)
	}
	var up [][]byte
	for _, d := range n.out.TUN.Datagrams() {
		up = append(up, append([]byte(nil), d.Payload...))
	}
	n.out.Reset()
	for _, packet := range up {
		if n.client == nil {
			n.after(time.Millisecond, func() { n.native(packet) })
		} else if reply := teredo.AppendEchoReply(nil, n.own, packet); len(reply) > 0 {
			n.after(time.Millisecond, func() { n.outgoing(reply) })
		} else {
			n.internet.delivered(packet)
		}
	}
}

// send makes a data packet leave: from a client, or from a native host to its relay.
func (in *internet) send(src, dst netip.Addr, from *node) {
	id := uint32(len(in.packets))
	in.packets = append(in.packets, packet{src: src, dst: dst, copies: 1})
	from.outgoing(sized(src, dst, id, 48+in.random.IntN(200)))
}

// copied counts that the net repeats a data packet, delivered that one has arrived.
func (in *internet) copied(payload []byte) {
	if p := in.packet(payload); p != nil {
		p.copies++
	}
}

func (in *internet) packet(payload []byte) *packet {
	if len(payload) < 44 || payload[0]>>4 != 6 || teredo.NextHeader(payload) != dataHeader {
		return nil
	}
	id := binary.BigEndian.Uint32(payload[40:])
	if id >= uint32(len(in.packets)) {
		return nil // an attacker's
	}
	return &in.packets[id]
}
