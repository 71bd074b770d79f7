package peer_test

import (
	"math/rand/v2"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// A million peers fit into 144 MB, not counting the buckets, each of which fills one line of a processor's cache. What workers share lies
// together at the beginning of an entry: what is needed to send has the size of one line, and none is farther away than the next.
func TestPeerLayout(t *testing.T) {
	shared := []struct {
		field  string
		offset uintptr
	}{
		{"key", 0}, {"path", 16}, {"received", 24}, {"sent", 32}, {"sentPackets", 40}, {"sentBytes", 48}, {"unheard", 56},
		{"receivedPackets", 64}, {"receivedBytes", 72}, {"source", 80}, {"entry", 88},
	}
	const line = 64
	if size := reflect.TypeFor[peer.Bucket]().Size(); size != line {
		t.Errorf("a bucket has %d bytes, want %d", size, line)
	}
	for _, capacity := range []int{1 << 12, 1 << 20} { // smaller tables fit into the cache as they are
		c := peer.NewClient(epoch, peer.Config{Capacity: capacity, Filter: labs, Drops: new(drop.Counters)})
		if at := c.BucketsAt(); at%line != 0 {
			t.Errorf("the buckets for %d peers begin at %#x, within a line", capacity, at)
		}
	}
	layout := reflect.TypeFor[peer.Peer]()
	for i, want := range shared {
		if f := layout.Field(i); f.Name != want.field || f.Offset != want.offset {
			t.Errorf("field %d is %s at %d, want %s at %d", i, f.Name, f.Offset, want.field, want.offset)
		}
	}
	if size := layout.Size(); size > 144 {
		t.Errorf("%d bytes", size)
	}
}

// No payload is too short or too strange for a worker to ask about: what is no IPv6 packet goes to the control goroutine.
func TestIncomingAnything(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	whole := data(other, own, 1)
	for size := range len(whole) {
		if got := r.m.Table().Incoming(whole[:min(size, teredo.HeaderLen-1)], peerMapped, 0, 1, size, 1); got != peer.Ask {
			t.Errorf("%d bytes: %v", size, got)
		}
		if incoming(r.m.Table(), whole[:size], peerMapped, 0, 1) != peer.Ask {
			t.Errorf("%d bytes are carried", size)
		}
	}
	if incoming(r.m.Table(), whole, peerMapped, 0, 1) != peer.Carry {
		t.Error("the whole packet is not carried")
	}
}

// ST-C-06: a list never has more entries than its capacity, whatever that is.
func TestCapacity(t *testing.T) {
	for _, capacity := range []int{-1, 0, 1, 2, 3, 4, 5, 16, 17, 1000} {
		r, cfg := newRig(t)
		cfg.Capacity = capacity
		c := peer.NewClient(r.now, cfg)
		c.SetAddress(own)
		r.m = c
		for n := range 2*max(capacity, 2) + 3 {
			r.m.Establish(client(n), teredo.Mapped(client(n)), peer.Stamp(n))
		}
		r.report()
		if n := r.m.Len(); n != max(capacity, 2) {
			t.Errorf("capacity %d: %d entries", capacity, n)
		}
	}
}

// ST-C-06: of the established peers the least recently used goes first, by what the workers saw of them too.
func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 16 // 4 new, 12 established
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	for n := range 16 {
		r.wait(time.Millisecond)
		r.m.Establish(client(n), teredo.Mapped(client(n)), r.m.Table().Stamp(r.now))
	}
	// The workers use the first five: 0 and 1 by sending, 2 and 3 by receiving, 4 by both.
	for _, n := range []int{3, 0, 4, 2, 1, 4} {
		r.wait(time.Millisecond)
		if n != 2 && n != 3 {
			r.want(r.send(data(own, client(n), 1)), "data 1 own>"+client(n).String()+" to "+teredo.Mapped(client(n)).String())
		}
		if n >= 2 {
			r.want(r.receive(teredo.Mapped(client(n)), data(client(n), own, 1)), "deliver data 1 "+client(n).String()+">own")
		}
	}
	for i, victim := range []int{5, 6, 7, 8, 9, 10, 11} {
		r.wait(time.Millisecond)
		r.m.Establish(client(100+i), teredo.Mapped(client(100+i)), r.m.Table().Stamp(r.now))
		r.report()
		if r.m.Knows(client(victim)) {
			t.Fatalf("peer %d should have gone", victim)
		}
		if r.m.Len() != 16 {
			t.Fatalf("%d entries after peer %d should have gone", r.m.Len(), victim)
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4} {
		if !r.m.Knows(client(n)) {
			t.Errorf("peer %d was used, and has gone", n)
		}
	}
}

// A peer counts as established from when packets have gone both ways, though nobody needs its room.
func TestCounts(t *testing.T) {
	r, cfg := newRig(t)
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	r.send(data(own, client(1), 1))
	if got, want := c.Counts(), (peer.Counts{Sought: 1}); got != want {
		t.Errorf("while it is looked for: %+v", got)
	}
	r.m.Establish(client(1), teredo.Mapped(client(1)), r.m.Table().Stamp(r.now))
	r.send(data(own, client(1), 1))
	for range 2 {
		r.receive(teredo.Mapped(client(1)), data(client(1), own, 1))
	}
	if got, want := c.Counts(), (peer.Counts{Established: 1}); got != want {
		t.Errorf("after packets both ways: %+v", got)
	}
}

// When every peer that an eviction looks at was used, the one that was used longest ago goes.
func TestEvictionAmongUsed(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 16
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	for n := range 16 {
		r.m.Establish(client(n), teredo.Mapped(client(n)), r.m.Table().Stamp(r.now))
	}
	for _, n := range []int{11, 3, 7, 0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 15} {
		r.wait(time.Millisecond)
		r.send(data(own, client(n), 1))
	}
	r.m.Establish(client(100), teredo.Mapped(client(100)), r.m.Table().Stamp(r.now))
	r.report()
	if r.m.Knows(client(11)) || r.m.Len() != 16 {
		t.Errorf("peer 11 has gone: %v; %d entries", !r.m.Knows(client(11)), r.m.Len())
	}
}

// SEC-DOS-01, R-DOS-01: a flood of made-up peers, of every kind that makes entries, does not push out those that packets went to
// and came from. What it takes up is bounded.
func TestFloodSparesEstablishedPeers(t *testing.T) {
	flood, friends := 100_000/slowdown, 500
	newClient := func() (*rig, machine) {
		r, cfg := newRig(t)
		cfg.Capacity = 1024
		c := peer.NewClient(r.now, cfg)
		c.SetAddress(own)
		return r, c
	}
	for name, c := range map[string]struct {
		rig              func() (*rig, machine)
		befriend, attack func(r *rig, n int)
	}{
		"data straight from made-up clients": {newClient, befriendClient, func(r *rig, n int) {
			r.incoming(teredo.Mapped(client(n)), data(client(n), own, 1))
		}},
		"indirect bubbles of made-up clients": {newClient, befriendClient, func(r *rig, n int) {
			r.incoming(server, bubble(client(n), own))
		}},
		"data of made-up native hosts": {newClient, befriendClient, func(r *rig, n int) {
			r.incoming(relay1, data(native(n), own, 1))
		}},
		"packets to made-up clients": {func() (*rig, machine) {
			r, cfg := newRig(t)
			cfg.Capacity = 1024
			return r, peer.NewRelay(r.now, relayAddr, cfg)
		}, func(r *rig, n int) {
			r.outgoing(data(host, client(n), 1))
			for range 2 {
				r.incoming(teredo.Mapped(client(n)), data(client(n), host, 1))
			}
		}, func(r *rig, n int) { r.outgoing(data(host, client(n), 1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			r, m := c.rig()
			r.m = m
			for n := range friends {
				c.befriend(r, n)
			}
			r.report()
			for n := range flood {
				c.attack(r, 1000+n)
				r.out.Reset()
				if n%10_000 == 0 {
					r.wait(100 * time.Millisecond)
				}
			}
			r.report()
			for n := range friends {
				if !m.Knows(client(n)) {
					t.Fatalf("friend %d was pushed out", n)
				}
			}
			if m.Len() > 1024 || m.Waiting() > 256 || m.Held() > 256*peer.MaxHeldBytes {
				t.Errorf("%d entries, %d searches, %d bytes held", m.Len(), m.Waiting(), m.Held())
			}
			r.wait(20 * time.Second)
			if m.Waiting() != 0 || m.Held() != 0 {
				t.Errorf("%d searches and %d bytes are left of it", m.Waiting(), m.Held())
			}
		})
	}
}

// befriend makes the client exchange packets with a peer.
func befriendClient(r *rig, n int) {
	for range 2 {
		r.incoming(teredo.Mapped(client(n)), data(client(n), own, 1))
		r.outgoing(data(own, client(n), 1))
	}
}

// ST-C-06: idle entries go after 300 s, used ones stay, and a list without entries wants no more calls.
func TestIdlePeersGo(t *testing.T) {
	r, _ := clientRig(t)
	for n := range 10 {
		r.receive(teredo.Mapped(client(n)), bubble(client(n), own))
	}
	for range 60 { // 600 s
		r.wait(10 * time.Second)
		r.want(r.receive(teredo.Mapped(client(3)), data(client(3), own, 1)), "deliver data 1 "+client(3).String()+">own")
	}
	if n := r.m.Len(); n != 1 || !r.m.Knows(client(3)) {
		t.Errorf("%d entries", n)
	}
	r.wait(10 * time.Minute)
	if _, ok := r.m.Deadline(); ok || r.m.Len() != 0 {
		t.Errorf("%d entries, a deadline: %v", r.m.Len(), ok)
	}
}

// One Tick looks at a bounded number of peers; Deadline asks for the next at once until all is done.
func TestTickIsBounded(t *testing.T) {
	r, cfg := newRig(t)
	cfg.Capacity = 1 << 16
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	r.m = c
	const peers = 2*peer.TickMost + 100
	for n := range peers {
		r.outgoing(data(own, native(n), 1))
	}
	r.report()
	r.now = r.now.Add(2 * time.Second)
	sent := 0
	for _, most := range []int{peer.TickMost, peer.TickMost, 100} {
		if at, ok := r.m.Deadline(); !ok || at.After(r.now) {
			t.Fatalf("deadline %v, %v", at, ok)
		}
		r.m.Tick(r.now, &r.out)
		n := len(r.out.UDP.Datagrams())
		if n != most {
			t.Errorf("%d tests in one Tick, want %d", n, most)
		}
		sent += n
		r.out.Reset()
	}
	if at, ok := r.m.Deadline(); !ok || !at.Equal(r.now.Add(2*time.Second)) {
		t.Errorf("deadline %v, %v", at, ok)
	}
	r.wait(10 * time.Minute)
	if r.m.Len() != 0 {
		t.Errorf("%d entries are left", r.m.Len())
	}
}

// Addresses that differ in any one part, as an attacker can choose them, spread over the buckets, with any seed.
func TestBucketsSpread(t *testing.T) {
	base := teredo.Address{Server: server.Addr(), Mapped: peerMapped}
	unlucky := func(seed []byte) { // the upper half of each address becomes a power of two, the lower one stays
		clear(seed)
		upper := base.Addr().As16()
		copy(seed, upper[:8])
		seed[2] ^= 1
	}
	for name, address := range map[string]func(n int) netip.Addr{
		"mapped address": func(n int) netip.Addr {
			a := base
			a.Mapped = netip.AddrPortFrom(netip.AddrFrom4([4]byte{5, byte(n >> 16), byte(n >> 8), byte(n)}), 4000)
			return a.Addr()
		},
		"mapped port": func(n int) netip.Addr {
			a := base
			a.Mapped = netip.AddrPortFrom(peerMapped.Addr(), uint16(n))
			return a.Addr()
		},
		"server": func(n int) netip.Addr {
			a := base
			a.Server = netip.AddrFrom4([4]byte{byte(n >> 8), byte(n), 1, 1})
			return a.Addr()
		},
		"flags":             func(n int) netip.Addr { a := base; a.Flags = uint16(n); return a.Addr() },
		"native identifier": native,
	} {
		for _, random := range []func([]byte){nil, unlucky} {
			const peers = 1 << 14
			c := peer.NewClient(epoch, peer.Config{Capacity: peers, Filter: labs, Drops: new(drop.Counters), Rand: random})
			for n := range peers {
				c.Establish(address(n), peerMapped, 0)
			}
			if most := c.LongestBucket(); c.Len() != peers || most > 24 {
				t.Errorf("%s: %d entries in %d buckets, %d of them in one", name, c.Len(), c.Buckets(), most)
			}
		}
	}
}

// Workers look up, send and receive while the control side adds, removes, evicts and changes its address. The race
// detector has an eye on it; afterwards the list is whole, and no worker has seen a path that never was.
func TestWorkersAndControl(t *testing.T) {
	const clients = 400
	drops := new(drop.Counters)
	c := peer.NewClient(epoch, peer.Config{Capacity: 200, Filter: labs, Drops: drops})
	c.SetAddress(own)
	var now atomic.Int64 // virtual time since epoch, that control moves on
	var stop atomic.Bool
	var carried, asked atomic.Int64
	var workers sync.WaitGroup
	for w := range uint64(3) {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(w, 7))
			for !stop.Load() {
				dst, at := client(random.IntN(clients)), peer.Stamp(now.Load())
				to, _, action := c.Table().Outgoing(data(own, dst, 1), 1, 48, at)
				if action == peer.Ask {
					asked.Add(1)
				} else {
					carried.Add(1)
					if to != teredo.Mapped(dst) {
						t.Errorf("%v is said to be at %v", dst, to)
					}
				}
				incoming(c.Table(), data(dst, own, 1), teredo.Mapped(dst), 0, at)
			}
		})
	}

	random := rand.New(rand.NewPCG(1, 2))
	var out peer.Output
	for i := range 20_000 {
		at := epoch.Add(time.Duration(now.Add(int64(5 * time.Millisecond))))
		a := client(random.IntN(clients))
		var p teredo.Packet
		switch random.IntN(8) {
		case 0:
			c.Outbound(at, data(own, a, 1), &out)
		case 1:
			c.Refresh(at, data(own, a, 1), &out)
		case 2:
			c.Tick(at, &out)
		default:
			if err := p.Parse(data(a, own, 1)); err != nil {
				t.Error(err)
			}
			c.Inbound(at, teredo.Mapped(a), &p, &out)
		}
		if i%5000 == 4999 {
			c.SetAddress(other)
			c.SetAddress(own)
		}
		out.Reset()
	}
	stop.Store(true)
	workers.Wait()
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if carried.Load() == 0 || asked.Load() == 0 {
		t.Errorf("%d packets carried, %d asked for", carried.Load(), asked.Load())
	}
}
