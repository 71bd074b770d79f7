package tunnel_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
	"github.com/teredo-suite/teredo/teredo"
)

// Random internets with random traffic. On links that reorder but lose nothing, no packet is lost; on others, nothing but
// the packets; and on all of them the limits hold and everything comes to rest.
func TestProperties(t *testing.T) {
	natsim.Seeds(t, 50, func(t *testing.T, in *natsim.Internet) {
		lossless := in.Rand().IntN(2) == 0
		r := newRandomWorld(t, in, lossless)
		flows := r.traffic()
		time.Sleep(5 * time.Minute)
		for i, f := range flows {
			if lost := f.Lost(); lossless && len(lost) > 0 {
				t.Errorf("flow %d has lost %v", i, lost)
			}
		}
		r.heal()
		time.Sleep(11 * time.Minute) // idle entries are forgotten, and clients that are offline have tried again
		r.checkRest()
		records := in.Trace()
		checkDestinations(t, records)
		checkBubbles(t, records)
	})
}

type randomWorld struct {
	*world
	*rand.Rand
	clients []*natsim.Client
	natives []*natsim.Native
	nats    []*natsim.NAT
}

func newRandomWorld(t *testing.T, in *natsim.Internet, lossless bool) *randomWorld {
	r := &randomWorld{world: newWorld(t, in), Rand: in.Rand()}
	servers := []*natsim.Server{r.server, in.Server()}
	relays := []*natsim.Relay{r.relay, in.Relay()}
	for range 2 {
		n := in.Native()
		n.Via(relays[r.IntN(2)])
		r.natives = append(r.natives, n)
	}
	for range 2 + r.IntN(4) {
		r.clients = append(r.clients, r.place(lossless).Client(servers[r.IntN(2)]))
	}
	for _, c := range r.clients {
		c.AwaitAddr(10 * time.Minute)
	}
	return r
}

// place is a network for a client: that of an earlier one, or one behind up to two NATs.
func (r *randomWorld) place(lossless bool) *natsim.Network {
	if len(r.nats) > 0 && r.IntN(4) == 0 {
		return r.nats[r.IntN(len(r.nats))].Network
	}
	at := r.Network
	for range r.IntN(3) {
		nat := at.NAT(r.nat())
		nat.SetLink(r.link(lossless))
		r.nats = append(r.nats, nat)
		at = nat.Network
	}
	return at
}

// heal mends all links.
func (r *randomWorld) heal() {
	for _, nat := range r.nats {
		nat.SetLink(natsim.Link{Delay: hop})
	}
}

// nat is one of those that RFC 4380 supports.
func (r *randomWorld) nat() natsim.NATConfig {
	return natsim.NATConfig{
		Filtering: natsim.Behavior(r.IntN(3)), Ports: natsim.PortAssignment(r.IntN(3)),
		Hairpin: true, Lifetime: r.duration(40*time.Second, 5*time.Minute),
	}
}

func (r *randomWorld) link(lossless bool) natsim.Link {
	l := natsim.Link{Delay: r.duration(time.Millisecond, 100*time.Millisecond), Jitter: r.duration(0, 50*time.Millisecond)}
	if !lossless {
		l.Loss, l.Duplicate = r.Float64()/5, r.Float64()/5
	}
	return l
}

func (r *randomWorld) duration(low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}

// traffic begins flows between random hosts, some fast, some with longer pauses than a path is valid.
func (r *randomWorld) traffic() (flows []*natsim.Stream) {
	for range 8 {
		a, b := r.stacks()
		every := r.duration(100*time.Millisecond, time.Second)
		if r.IntN(3) == 0 {
			every = r.duration(20*time.Second, time.Minute)
		}
		flows = append(flows, a.Stream(b.Addr(), every, int(4*time.Minute/every)))
		time.Sleep(r.duration(0, 5*time.Second))
	}
	return flows
}

// stacks are two ends, at least one of them a client.
func (r *randomWorld) stacks() (a, b *natsim.Stack) {
	i := r.IntN(len(r.clients))
	a, b = r.clients[i].Stack, r.clients[(i+1)%len(r.clients)].Stack
	if r.IntN(2) == 0 {
		b = r.natives[r.IntN(len(r.natives))].Stack
	}
	if r.IntN(2) == 0 {
		a, b = b, a
	}
	return a, b
}

// checkRest checks that nothing goes on, and that nothing is remembered of peers that nobody talks to, but for neighbours,
// who make themselves known every few minutes.
func (r *randomWorld) checkRest() {
	for _, c := range r.clients {
		if s := c.Status(); s.State != "qualified" {
			r.t.Errorf("%s has come to rest with %+v", c.Host.Name(), s)
		}
		peers, err := c.Tunnel.Peers(r.t.Context())
		if err != nil {
			r.t.Error(err)
		}
		for _, p := range peers {
			if neighbour := teredo.Mapped(p.Address).Addr() == teredo.Mapped(c.Addr()).Addr(); !neighbour || p.State == "searching" || p.Held > 0 {
				r.t.Errorf("%s has come to rest with %+v", c.Host.Name(), p)
			}
		}
	}
	if s := r.relay.Status(); s.Peers > 0 {
		r.t.Errorf("the relay has come to rest with %+v", s)
	}
}

// checkDestinations checks that nothing was sent to an address that is not global, but to hosts of the same LAN (SEC-V4-03).
func checkDestinations(t *testing.T, records []natsim.Record) {
	t.Helper()
	global := natsim.Filter()
	for _, r := range records {
		dst := r.Packet.Dst.Addr()
		local := r.Packet.Src.Addr().IsPrivate() && (dst.IsPrivate() || dst == teredo.DiscoveryAddr())
		if r.Event == natsim.Sent && !r.Packet.Native() && !global.Global(dst) && !local {
			t.Errorf("to an address that is not global: %v", r)
		}
	}
}

// checkBubbles checks the limits of RFC 4380 §5.2.6 for each sender and peer: 2 s between bubbles, and no more than four in
// 300 s without a direct response (C-BUB-03, C-BUB-04). A direct and an indirect bubble sent together are one.
func checkBubbles(t *testing.T, records []natsim.Record) {
	t.Helper()
	const spacing, window, most = 2 * time.Second, 300 * time.Second, 4
	sent := make(map[string][]time.Duration) // since the last direct response
	for _, r := range records {
		b := r.Packet.IPv6()
		switch {
		case b == nil || r.Packet.Native():
		case r.Event == natsim.Received && r.Packet.Src.Port() != teredo.Port:
			delete(sent, between(r.Hop, teredo.Source(b)))
		case r.Event == natsim.Sent && r.Packet.Kind() == "bubble" && teredo.IsTeredo(teredo.Destination(b)) && r.Packet.Src.Port() != teredo.Port:
			key := between(r.Hop, teredo.Destination(b))
			times := sent[key]
			if n := len(times); n > 0 {
				if times[n-1] == r.At {
					continue
				}
				if r.At-times[n-1] < spacing {
					t.Errorf("%v after the last bubble: %v", r.At-times[n-1], r)
				}
			}
			times = append(times, r.At)
			if n := len(times); n > most && r.At-times[n-1-most] < window {
				t.Errorf("%d bubbles in %v without a response: %v", most+1, r.At-times[n-1-most], r)
			}
			sent[key] = times
		}
	}
}

func between(hop string, peer netip.Addr) string { return fmt.Sprintf("%s %v", hop, peer) }
