package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// hostileRig is a client with room as in the program, and all extensions.
func hostileRig(t *testing.T, nat peer.NAT) *rig {
	r, cfg := newRig(t)
	f := &randomPorts{TB: t, open: map[uint8]bool{}, most: 31}
	cfg.Capacity, cfg.Extensions, cfg.Ports = 4096, all, f.ports()
	c := peer.NewClient(r.now, cfg)
	c.SetAddress(own)
	c.SetNAT(nat)
	r.m = c
	return r
}

// SEC-DOS-01: 5,000 new peers a second do not evict a peer that sends a packet a second, nor one that is sent a packet a second,
// whether their addresses are all alike or all different.
func TestChurnSparesLivePeers(t *testing.T) {
	for _, forged := range []bool{false, true} {
		t.Run(fmt.Sprintf("forged %t", forged), func(t *testing.T) {
			evicted := 0
			for i := range 20 {
				r := hostileRig(t, restrictedNAT)
				sender, receiver := client(1), client(2)
				r.receive(teredo.Mapped(sender), data(sender, own, 1))
				r.send(data(own, receiver, 1))
				r.receive(teredo.Mapped(receiver), bubble(receiver, own))
				for n := range 25_000 {
					a := client(1000 + 25_000*i + n)
					if !forged {
						a = teredo.Address{Server: peerServer.Addr(), Flags: uint16(n) & teredo.FlagRandomMask, Mapped: peerMapped}.Addr()
					}
					r.incoming(teredo.Mapped(a), data(a, own, 1))
					r.out.Reset()
					r.now = r.now.Add(time.Second / 5000)
					if n%5000 == 4999 {
						r.report()
						r.wait(0)
						if !r.m.Knows(sender) || !r.m.Knows(receiver) {
							evicted++
							break
						}
						r.receive(teredo.Mapped(sender), data(sender, own, 2))
						r.send(data(own, receiver, 2))
					}
				}
			}
			t.Logf("a live peer was evicted %d times of 20", evicted)
			if evicted > 0 {
				t.Errorf("a live peer was evicted %d times of 20", evicted)
			}
		})
	}
}

// SEC-DOS-01: 11,000 bubbles a second from made-up clients do not keep searches of our own side from their end.
func TestSearchesUnderBubbles(t *testing.T) {
	r := hostileRig(t, restrictedNAT)
	found, searches := 0, 30
	n := 0
	flood := func(d time.Duration) {
		for range d * 11_000 / time.Second {
			r.incoming(server, via(teredo.Mapped(client(n)), bubble(client(n), own)))
			r.out.Reset()
			n++
			r.now = r.now.Add(time.Second / 11_000)
		}
		r.report()
		r.wait(0)
		r.out.Reset()
	}
	for i := range searches {
		a := client(1<<20 + i)
		r.outgoing(data(own, a, 1))
		r.report()
		flood(200 * time.Millisecond)
		r.receive(teredo.Mapped(a), bubble(a, own))
		if to, _, action := r.m.Table().Outgoing(data(own, a, 2), 1, 49, r.m.Table().Stamp(r.now)); action == peer.Carry && to == teredo.Mapped(a) {
			for _, i := range r.m.Peers(r.now, 10_000) {
				if i.Address == a && i.SentPackets == 2 {
					found++ // the first packet did not get lost
				}
			}
		}
	}
	t.Logf("%d of %d searches succeeded", found, searches)
	if found != searches {
		t.Errorf("%d of %d searches succeeded", found, searches)
	}
}

// SEC-DOS-01, X-PP-15: 3.4 bubbles of strangers a second do not take the random ports from searches of our own side.
func TestPortsUnderBubbles(t *testing.T) {
	for name, nat := range map[string]peer.NAT{"port-preserving": preservingNAT, "sequential": sequentialNAT} {
		t.Run(name, func(t *testing.T) {
			r := hostileRig(t, nat)
			n, without := 0, 0
			bubbles := func(count int) {
				for range count {
					r.answerEchoTest(r.receive(server, via(teredo.Mapped(client(n)), append(bubble(client(n), own), nonce([4]byte{1, 2, byte(n >> 8), byte(n)})...))))
					n++
					r.wait(294 * time.Millisecond)
				}
			}
			bubbles(200)
			for i := range 30 {
				a := client(1<<20 + i)
				before := r.m.(*peer.Client).OpenPorts()
				r.answerEchoTest(r.send(data(own, a, 1)))
				if r.m.(*peer.Client).OpenPorts() == before {
					without++
				}
				bubbles(5)
				r.receive(teredo.Mapped(a), bubble(a, own)) // found, though without the port
				bubbles(5)
			}
			t.Logf("%d of 30 searches have no random port", without)
			if without > 0 {
				t.Errorf("%d of 30 searches have no random port", without)
			}
		})
	}
}

// answerEchoTest answers the echo test, if a report tells of one, as the two addresses of the server would.
func (r *rig) answerEchoTest(lines []string) {
	for _, line := range lines {
		var at uint8
		if _, err := fmt.Sscanf(line, "solicitation to server from port %d", &at); err == nil {
			n := len(r.echoTests)
			r.receiveAt(at, server, r.advertisement(n-2, 1200))
			r.receiveAt(at, secondary, r.advertisement(n-1, 1202))
		}
	}
}

// SEC-NOAMP-01, SEC-DOS-01: whatever datagrams strangers send, in whatever order, they get no more bytes out of a client or a relay
// than they put in, but for the bursts of the budgets; the list keeps to its size; and nothing goes to an address that is not
// allowed.
func FuzzHostile(f *testing.F) {
	asked := indirect(nonce(peerNonce), port(5000), alternates(nearAt, peerMapped, peerMoved, peerPort))
	var flood script
	for range 10 {
		flood = flood.step(1, asked).step(0, data(host, other, 1))
	}
	for m := range byte(machines) {
		f.Add(m, uint16(999), []byte(flood))
		f.Add(m, uint16(500), []byte(script{}.step(1, asked).step(5, append([]byte{192, 0, 2, 77, 1, 1}, data(other, own, 1)...))))
		f.Add(m, uint16(500), []byte(script{}.step(0, data(host, other, 1)).step(3, data(other, host, 1)).step(2, data(host, own, 1))))
		f.Add(m, uint16(500), []byte(script{}.step(1, via(relay1, bubble(relayLL, own))).step(3, bubble(other, own))))
	}
	f.Fuzz(func(t *testing.T, kind byte, rounds uint16, input []byte) {
		r := newFuzzRig(t, int(kind)%machines)
		start, in, out, steps := r.now, 0, 0, 0
		count := func() {
			for _, d := range r.out.UDP.Datagrams() {
				out += len(d.Payload)
				if ip := d.Remote.Addr(); !public(d.Remote) && (r.ports == nil || ip.IsLoopback() || ip.IsMulticast() || ip.IsUnspecified() || d.Remote.Port() == 0) {
					t.Errorf("a datagram to %v", d.Remote)
				}
			}
			r.out.Reset()
		}
		for range int(rounds) % 1000 {
			for s := script(input); len(s) > 0 && steps < 20_000; {
				var what byte
				var payload []byte
				what, payload, s = s.next()
				if what == 0 && kind%machines != plainRelay || what == 4 {
					continue // our own packets are not a stranger's, and time passes below
				}
				steps++
				payload = varied(payload, steps)
				in += len(payload)
				from := server
				var p teredo.Packet
				switch {
				case what == 0:
					r.outgoing(payload)
					count()
					continue
				case what == 2:
					from = relay1
				case what >= 5 && len(payload) > 6:
					from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(payload)), uint16(steps)|1)
					payload = payload[6:]
				case what == 3 && p.Parse(payload) == nil && teredo.IsTeredo(teredo.Source(p.IPv6)):
					from = teredo.Mapped(teredo.Source(p.IPv6))
				}
				r.incoming(from, payload)
				count()
			}
			r.now = r.now.Add(time.Millisecond)
			if at, ok := r.m.Deadline(); ok && !at.After(r.now) {
				r.m.Tick(r.now, &r.out)
				count()
			}
			if r.report(); r.m.Len() > 64 {
				t.Fatalf("%d entries", r.m.Len())
			}
		}
		// No datagram has more than 100 bytes. What an echo test sends is counted as one.
		burst, rate, size := 4*256, 4*64, 100
		switch kind % machines {
		case plainRelay:
			burst, rate = 2*1000, 2*1000
		case behindSequential:
			size *= 4
		}
		if most := in + size*(burst+int(r.now.Sub(start).Seconds()*float64(rate))); out > most {
			t.Errorf("%d bytes in, %d out, want at most %d", in, out, most)
		}
	})
}

// varied returns a copy of a payload with other flags in its first Teredo address, and another end, so that it is of another peer.
func varied(payload []byte, n int) []byte {
	b := append([]byte(nil), payload...)
	for i := 0; i+16 <= len(b); i++ {
		if b[i] == 0x20 && b[i+1] == 1 && b[i+2] == 0 && b[i+3] == 0 {
			b[i+8], b[i+9] = byte(n>>8)&0x3c, byte(n)
			break
		}
	}
	if len(b) > 60 {
		b[len(b)-1] ^= byte(n)
	}
	return b
}

// SEC-DOS-01: a native host that sends to clients which do not exist does not keep other native hosts from new clients of the same
// server, which answer.
func TestScanOfOneServer(t *testing.T) {
	const clients = 200 // in 20 s
	r, relay := relayRig(t)
	honest, scanner := native(0), netip.MustParseAddr("2001:db8:2::1")
	ofServer := func(n int) netip.Addr {
		return teredo.Address{Server: peerServer.Addr(), Mapped: teredo.Mapped(client(n))}.Addr()
	}
	found, scans := 0, 0
	for n := range clients {
		for range 1000 {
			relay.Seek(r.now, ofServer(1<<20+scans), scanner, &r.out)
			scans++
		}
		r.report()
		a := ofServer(n)
		if relay.Seek(r.now, a, honest, &r.out) {
			r.report()
			r.receive(teredo.Mapped(a), bubble(a, relayLL))
			if relay.Table().Live(a, relay.Table().Stamp(r.now)) {
				found++
			}
		}
		r.wait(100 * time.Millisecond)
	}
	if found < clients*95/100 { // the scanner has what its own budget holds at first
		t.Errorf("%d of %d clients were found", found, clients)
	}
}
