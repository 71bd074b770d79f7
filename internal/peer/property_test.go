package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// seeds is how many internets a test looks at, fewer in short mode and under the race detector.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return n / 10
	}
	return n / slowdown
}

// small makes an internet with three clients behind two servers, two relays and three native hosts.
func small(t testing.TB, seed uint64, capacity int) (in *internet, clients []*node, hosts []netip.Addr) {
	in = newInternet(t, seed)
	hosts = []netip.Addr{native(1), native(2), native(3)}
	clients = []*node{
		in.addClient("A", ownMapped, server, capacity, true),
		in.addClient("B", peerMapped, peerServer, capacity, seed%5 != 0),
		in.addClient("C", netip.MustParseAddrPort("192.0.2.77:1024"), server, capacity, seed%3 != 0),
	}
	in.addRelay("R1", relay1, capacity, hosts[0], hosts[1])
	in.addRelay("R2", relay2, capacity, hosts[2])
	return in, clients, hosts
}

// talk has a number of flows of a few packets each begin within the given time.
func (in *internet) talk(clients []*node, hosts []netip.Addr, flows int, within time.Duration) {
	for range flows {
		from := clients[in.random.IntN(len(clients))]
		start := time.Duration(in.random.Int64N(int64(within)))
		gap := time.Duration(in.random.Int64N(int64(12 * time.Second)))
		if in.random.IntN(2) == 0 {
			gap /= 100
		}
		to := clients[in.random.IntN(len(clients))]
		h := hosts[in.random.IntN(len(hosts))]
		kind := in.random.IntN(3)
		for i := range 1 + in.random.IntN(8) {
			in.after(start+time.Duration(i)*gap, func() {
				switch {
				case kind == 0:
					in.send(from.own, h, from)
				case kind == 1:
					in.send(h, from.own, in.hosts[h])
				case to != from:
					in.send(from.own, to.own, from)
				}
			})
		}
	}
}

// When the net loses nothing, everything arrives, once: between clients, to native hosts and from them, after pauses
// of any length, also when datagrams overtake each other.
func TestEverythingArrives(t *testing.T) {
	t.Parallel()
	for seed := range seeds(600) {
		in, clients, hosts := small(t, seed, 64)
		in.reorder = seed%2 == 0
		in.talk(clients, hosts, 25, 200*time.Second)
		in.run(330 * time.Second)
		for id, p := range in.packets {
			if p.delivered != 1 {
				t.Fatalf("seed %d: packet %d from %v to %v is delivered %d times", seed, id, p.src, p.dst, p.delivered)
			}
		}
		in.settled()
	}
}

// Any one datagram of an exchange may be lost: what waits for it still arrives. Only a data packet that is lost itself is
// lost.
func TestEachDatagramLost(t *testing.T) {
	for name, begin := range map[string]func(in *internet, clients []*node, host netip.Addr){
		"client to client": func(in *internet, c []*node, _ netip.Addr) { in.send(c[0].own, c[1].own, c[0]) },
		"client to native": func(in *internet, c []*node, host netip.Addr) { in.send(c[0].own, host, c[0]) },
		"native to client": func(in *internet, c []*node, host netip.Addr) { in.send(host, c[0].own, in.hosts[host]) },
		"both ways at once": func(in *internet, c []*node, _ netip.Addr) {
			in.send(c[0].own, c[1].own, c[0])
			in.send(c[1].own, c[0].own, c[1])
		},
	} {
		t.Run(name, func(t *testing.T) {
			for lost, exchange := 0, 1; lost < exchange; lost++ {
				in, clients, hosts := small(t, 1, 64)
				n, spared := 0, true
				in.lose = func(_, _ netip.AddrPort, payload []byte) bool {
					if n++; n-1 != lost {
						return false
					}
					spared = in.packet(payload) == nil
					return true
				}
				begin(in, clients, hosts[0])
				in.run(20 * time.Second)
				arrived := 0
				for _, p := range in.packets {
					arrived += p.delivered
				}
				if spared && arrived != len(in.packets) || !spared && arrived != len(in.packets)-1 {
					t.Errorf("without datagram %d, %d of %d packets arrive", lost, arrived, len(in.packets))
				}
				if exchange = n; exchange > 30 {
					t.Fatalf("%d datagrams", exchange)
				}
				in.settled()
			}
		})
	}
}

// Whatever the net does, and whatever attackers send: see watch_test.go for what must hold (C-TX-08, R-TX-02, C-BUB-03,
// C-BUB-04, K-09, W-TRL-04).
func TestWhateverHappens(t *testing.T) {
	t.Parallel()
	for seed := range seeds(3000) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			in, clients, hosts := small(t, seed, 256)
			in.loss = []float64{0, 0.1, 0.3, 0.45, 0.95}[seed%5]
			in.repeat = []float64{0, 0.05, 0.3}[seed%3]
			in.reorder = seed%2 == 1
			in.talk(clients, hosts, 20, 400*time.Second)
			if seed%4 != 0 {
				in.attack(clients, 60, 400*time.Second)
			}
			if seed%7 == 0 { // C gets another address in the midst of it, A loses its own for a while
				in.after(150*time.Second, func() { clients[2].move(peerServer) })
				in.after(160*time.Second, func() { clients[0].client.SetAddress(netip.Addr{}) })
				in.after(170*time.Second, func() { clients[0].client.SetAddress(clients[0].own) })
			}
			in.run(500 * time.Second)
			in.run(520 * time.Second) // the last packet was sent more than 20 s ago
			in.settled()
			in.run(1200 * time.Second)
			in.forgotten()
		})
	}
}

// The same with lists that are too short for all the peers: they stay short, and whole.
func TestWhateverHappensWithShortLists(t *testing.T) {
	t.Parallel()
	for seed := range seeds(300) {
		const capacity = 6
		in, clients, hosts := small(t, seed, capacity)
		in.unwatched = true // who forgets a peer forgets its bubbles
		in.loss, in.reorder = 0.1, seed%2 == 0
		in.talk(clients, hosts, 30, 100*time.Second)
		in.attack(clients, 200, 100*time.Second)
		for at := time.Second; at < 200*time.Second; at += time.Second {
			in.run(at)
			for _, n := range in.nodes {
				if err := n.m.Check(); err != nil || n.m.Len() > capacity {
					t.Fatalf("seed %d, %v: %s has %d entries: %v", seed, at, n.name, n.m.Len(), err)
				}
			}
		}
		in.run(240 * time.Second)
		in.settled()
	}
}

// attack sends made-up datagrams to clients and relays, past their NATs, at random moments.
func (in *internet) attack(clients []*node, n int, within time.Duration) {
	for range n {
		in.after(time.Duration(in.random.Int64N(int64(within))), func() {
			victim := in.nodes[in.random.IntN(len(in.nodes))]
			from, payload := in.forge(victim, clients)
			victim.receive(from, payload)
		})
		if in.random.IntN(8) == 0 { // and their own stack is made to send to addresses with something wrong in them
			in.after(time.Duration(in.random.Int64N(int64(within))), func() {
				from := clients[in.random.IntN(len(clients))]
				from.outgoing(data(from.own, in.oddAddress(), 1<<31))
			})
		}
	}
}

// forge makes up a datagram for a victim.
func (in *internet) forge(victim *node, clients []*node) (from netip.AddrPort, payload []byte) {
	src := in.anyAddress(clients)
	dst := victim.own
	if victim.client == nil {
		dst = native(1 + in.random.IntN(3))
	}
	switch in.random.IntN(5) {
	case 0:
		payload = bubble(src, dst)
	case 1:
		payload = teredo.AppendEchoRequest(nil, src, dst, 1, 1, []byte("12345678"))
	case 2:
		payload = teredo.AppendEchoReply(nil, src, teredo.AppendEchoRequest(nil, dst, src, 1, 1, []byte("12345678")))
	default:
		payload = data(src, dst, 1<<31)
	}
	if in.random.IntN(10) == 0 {
		payload[in.random.IntN(len(payload))] ^= byte(in.random.Uint32())
	}
	if in.random.IntN(4) == 0 {
		payload = append(payload, byte(in.random.Uint32()), byte(in.random.IntN(3)))
	}
	from = in.anyEndpoint()
	switch in.random.IntN(4) {
	case 0:
		from = netip.AddrPortFrom(teredo.ServerOf(clients[in.random.IntN(len(clients))].own), teredo.Port)
		if in.random.IntN(2) == 0 {
			payload = via(in.anyEndpoint(), payload)
		}
	case 1:
		if m := teredo.Mapped(src); m.IsValid() {
			from = m
		}
	}
	return from, payload
}

// anyAddress is that of somebody who exists, or one that is made up.
func (in *internet) anyAddress(clients []*node) netip.Addr {
	switch in.random.IntN(5) {
	case 0:
		return clients[in.random.IntN(len(clients))].own
	case 1:
		return native(1 + in.random.IntN(4))
	case 2:
		return client(in.random.IntN(20))
	case 3:
		return relayLL
	}
	return in.oddAddress()
}

// oddAddress is a Teredo address whose mapping, server or both are of the kind that nothing may be sent to.
func (in *internet) oddAddress() netip.Addr {
	a := teredo.Address{Server: peerServer.Addr(), Flags: uint16(in.random.Uint32()), Mapped: in.anyEndpoint()}
	if in.random.IntN(2) == 0 {
		a.Server = in.anyEndpoint().Addr()
	}
	return a.Addr()
}

func (in *internet) anyEndpoint() netip.AddrPort {
	all := [...]string{
		"10.0.0.1:4000", "127.0.0.1:3544", "255.255.255.255:9", "224.0.0.253:3544", "0.0.0.0:0", "192.168.1.1:80", "192.0.2.99:0",
		"192.0.2.1:4096", "192.0.2.10:8192", "198.51.100.7:3545", "198.51.100.8:3545", "203.0.113.1:3544", "192.0.2.99:4242",
	}
	return netip.MustParseAddrPort(all[in.random.IntN(len(all))])
}
