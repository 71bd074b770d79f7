package tunnel_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
)

// mostSockets is the service port and as many random ports as a client has at a time.
const mostSockets = 1 + 32

// Random internets with all kinds of NAT and all extensions on, with random traffic and links that lose, reorder and duplicate.
// The limits hold, whoever sends is carried or told, and in the end all random ports are closed.
func TestMatrixProperties(t *testing.T) {
	natsim.Seeds(t, 30, func(t *testing.T, in *natsim.Internet) {
		r := newNATWorld(t, in)
		flows := r.traffic()
		for range 60 {
			time.Sleep(5 * time.Second)
			r.checkSockets(mostSockets)
		}
		r.checkFlows(flows)
		time.Sleep(30 * time.Minute) // random ports are kept for 10 minutes after the last data, entries for 5 more
		r.checkSockets(1)
		records := in.Trace()
		checkToldDestinations(t, records)
		for _, c := range r.clients {
			checkExtendedBubbles(t, records, c)
			checkAlternates(t, records, c)
		}
	})
}

// natWorld is a randomWorld of clients behind NATs of figure 1.
type natWorld struct{ *randomWorld }

func newNATWorld(t *testing.T, in *natsim.Internet) natWorld {
	r := natWorld{&randomWorld{world: newWorld(t, in), Rand: in.Rand()}}
	servers := []*natsim.Server{r.server, in.Server()}
	kinds := natKinds()
	for range 3 + r.IntN(4) {
		kind, at := kinds[r.IntN(len(kinds))], in.Network
		if len(r.nats) > 0 && r.IntN(4) == 0 {
			at = r.nats[r.IntN(len(r.nats))].Network
		}
		kind.cfg.Hairpin = r.IntN(2) == 0
		nat := at.NAT(kind.cfg)
		r.nats = append(r.nats, nat)
		for range 1 + r.IntN(2) {
			r.clients = append(r.clients, clientOf(nat, servers[r.IntN(2)], kind.upnp, allExtensions()))
		}
	}
	for _, c := range r.clients {
		c.AwaitAddr(10 * time.Minute)
	}
	for _, nat := range r.nats {
		nat.SetLink(r.link(r.IntN(3) == 0))
	}
	return r
}

// flow is a stream between two clients.
type flow struct {
	*natsim.Stream
	from *natsim.Client
	to   netip.Addr
}

func (r natWorld) traffic() (flows []flow) {
	for range 10 {
		i := r.IntN(len(r.clients))
		from, to := r.clients[i], r.clients[(i+1+r.IntN(len(r.clients)-1))%len(r.clients)]
		every := r.duration(200*time.Millisecond, 2*time.Second)
		if r.IntN(3) == 0 {
			every = r.duration(20*time.Second, time.Minute)
		}
		count := int(3 * time.Minute / every)
		flows = append(flows, flow{from.Stream(to.Addr(), every, count), from, to.Addr()})
		time.Sleep(r.duration(0, 5*time.Second))
	}
	return flows
}

// checkFlows checks that of all that was sent from one client to another something has arrived, or else that the sender was told.
func (r natWorld) checkFlows(flows []flow) {
	r.t.Helper()
	settled := make(map[string]bool)
	for _, c := range r.clients {
		for _, d := range c.Received() {
			if d.Kind() == "unreachable" && len(d.Packet) >= 2*teredo.HeaderLen+8 {
				settled[between(c.Host.Name(), teredo.Destination(d.Packet[teredo.HeaderLen+8:]))] = true
			}
		}
	}
	for _, f := range flows {
		if len(f.Delays()) > 0 {
			settled[between(f.from.Host.Name(), f.to)] = true
		}
	}
	for i, f := range flows {
		if !settled[between(f.from.Host.Name(), f.to)] {
			r.t.Errorf("nothing of flow %d from %s to %v has arrived, and the sender does not know", i, f.from.Host.Name(), f.to)
		}
	}
}

func (r natWorld) checkSockets(most int) {
	r.t.Helper()
	for _, c := range r.clients {
		if n := c.Host.Sockets(); n > most {
			r.t.Errorf("%s has %d sockets at %v, want %d at most", c.Host.Name(), n, r.Now(), most)
		}
	}
}

// checkToldDestinations checks that clients send to an address that is not global only if a peer has said in an indirect bubble
// that it is there, or has sent from there (SEC-V4-03, X-HP-04).
func checkToldDestinations(t *testing.T, records []natsim.Record) {
	t.Helper()
	global := natsim.Filter()
	type endpoint struct {
		hop string
		netip.AddrPort
	}
	told := make(map[endpoint]bool)
	for _, r := range records {
		switch {
		case r.Packet.Native():
		case r.Event == natsim.Received:
			told[endpoint{r.Hop, r.Packet.Src}] = true
			for _, a := range advertised(r.Packet) {
				told[endpoint{r.Hop, a}] = true
			}
		case r.Event == natsim.Sent && !global.Global(r.Packet.Dst.Addr()) && !told[endpoint{r.Hop, r.Packet.Dst}]:
			t.Errorf("to an address that is not global: %v", r)
		}
	}
}

// advertised are the addresses in the Alternate Address Trailer of a packet.
func advertised(p natsim.Packet) (list []netip.AddrPort) {
	eachTrailer(p, func(t teredo.Trailer) {
		if l, ok := t.AlternateAddresses(nil); ok {
			list = append(list, l...)
		}
	})
	return list
}

// solicits reports whether a packet has a Neighbor Discovery Option Trailer that solicits an answer.
func solicits(p natsim.Packet) (yes bool) {
	eachTrailer(p, func(t teredo.Trailer) {
		kind, ok := t.NeighborDiscovery()
		yes = yes || ok && kind == teredo.DiscoverySolicitation
	})
	return yes
}

func eachTrailer(p natsim.Packet, do func(teredo.Trailer)) {
	var packet teredo.Packet
	if packet.Parse(p.Payload) != nil {
		return
	}
	for rest := packet.Trailers; ; {
		trailer, after, ok := teredo.NextTrailer(rest)
		if !ok {
			return
		}
		do(trailer)
		rest = after
	}
}

// checkAlternates checks that a client tells its alternate addresses in indirect bubbles only (W-TRL-04).
func checkAlternates(t *testing.T, records []natsim.Record, c *natsim.Client) {
	t.Helper()
	for _, r := range records {
		sent := r.Event == natsim.Sent && r.Hop == c.Host.Name() && !r.Packet.Native()
		if sent && len(advertised(r.Packet)) > 0 && (r.Packet.Kind() != "bubble" || r.Packet.Dst.Port() != teredo.Port) {
			t.Errorf("alternate addresses in what is no indirect bubble: %v", r)
		}
	}
}

// checkExtendedBubbles checks the limits of RFC 4380 §5.2.6 (C-BUB-03, C-BUB-04) for a client with extensions. Of the bubbles from its service port,
// the direct ones that leave together count as one. Each goes with an indirect one at most, which an echo test may delay: those
// are only counted. A new indirect bubble of the peer is answered at once, also within 2 s. Solicitations come before that, no more
// than three for a path that was established (RFC 6081 §5.7.2).
func checkExtendedBubbles(t *testing.T, records []natsim.Record, c *natsim.Client) {
	t.Helper()
	type kind struct {
		peer               netip.Addr
		indirect, solicits bool
	}
	const spacing, window = 2 * time.Second, 300 * time.Second
	sent := make(map[kind][]time.Duration)      // since the last direct response
	asked := make(map[netip.Addr]time.Duration) // when the last indirect bubble came from a peer
	for _, r := range records {
		b := r.Packet.IPv6()
		switch {
		case b == nil || r.Packet.Native() || r.Hop != c.Host.Name():
		case r.Event == natsim.Received && r.Packet.Src.Port() == teredo.Port:
			asked[teredo.Source(b)] = r.At
		case r.Event == natsim.Received:
			for _, k := range []kind{{}, {indirect: true}, {solicits: true}} {
				k.peer = teredo.Source(b)
				delete(sent, k)
			}
		case r.Event == natsim.Sent && r.Packet.Kind() == "bubble" && r.Packet.Src.Port() == c.Conn.LocalAddr().Port():
			peer := teredo.Destination(b)
			k, most := kind{peer, r.Packet.Dst.Port() == teredo.Port, solicits(r.Packet)}, 4
			if k.solicits {
				most = 3
			}
			times := sent[k]
			if n := len(times); n > 0 && times[n-1] == r.At {
				continue
			} else if n > 0 && !k.indirect && r.At-times[n-1] < spacing && asked[peer] != r.At {
				t.Errorf("%v after the last bubble: %v", r.At-times[n-1], r)
			}
			times = append(times, r.At)
			if n := len(times); n > most && r.At-times[n-1-most] < window {
				t.Errorf("more than %d bubbles in %v: %v", most, window, r)
			}
			sent[k] = times
		}
	}
}

// SEC-DOS-01: a client that would need more random ports than it may have connects to as many peers as it has ports, and tells the senders
// to the others; later, when ports are closed, it connects to those.
func TestMatrixManyPeers(t *testing.T) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		const more = 8
		s := in.Server()
		hub, _ := natKinds()[5].behind(in.Network, s, allExtensions())
		var peers, missed []*natsim.Client
		for range mostSockets - 1 + more {
			peer, _ := natKinds()[2].behind(in.Network, s, allExtensions())
			peers = append(peers, peer)
		}
		time.Sleep(10 * time.Second)
		for _, p := range peers {
			hub.Send(p.Addr(), "hello")
		}
		time.Sleep(connectWithin)
		if n := hub.Host.Sockets(); n != mostSockets {
			t.Errorf("%d sockets, want %d", n, mostSockets)
		}
		for _, p := range peers {
			if len(p.Received()) == 0 {
				missed = append(missed, p)
			}
		}
		told := 0
		for _, d := range hub.Received() {
			if d.Kind() == "unreachable" {
				told++
			}
		}
		if len(missed) != more || told != more {
			t.Fatalf("%d peers are not reached, and %d senders are told, want %d", len(missed), told, more)
		}
		time.Sleep(30 * time.Minute)
		if n := hub.Host.Sockets(); n != 1 {
			t.Errorf("%d sockets in the end, want one", n)
		}
		for _, p := range missed {
			hub.Send(p.Addr(), "hello again")
			p.Next(connectWithin)
		}
	})
}
