package peer_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// ported is port preservation with what it needs.
var ported = peer.Extensions{SymmetricNAT: true, PortPreserving: true}

// openPorts checks how many random ports are open.
func (r *rig) openPorts(f *randomPorts, want int) {
	r.Helper()
	if c := r.m.(*peer.Client); len(f.open) != want || c.OpenPorts() != want {
		r.Fatalf("%v after the start: %d ports are open, %d on the books, want %d", r.now.Sub(epoch), len(f.open), c.OpenPorts(), want)
	}
}

// portRig is a client with a path to the peer through a random port.
func portRig(t testing.TB, e peer.Extensions) (*rig, *peer.Client, *randomPorts) {
	r, c, f := extendedRig(t, e, preservingNAT)
	r.send(data(own, other, 1))
	r.wait(10 * time.Millisecond)
	r.receive(server, indirect(nonce(peerNonce), port(5000)))
	r.wait(10 * time.Millisecond)
	r.want(r.receiveAt(1, peerPort, with(nonce(r.lastNonce()))),
		"bubble own>other to 192.0.2.10:5000 from port 1, nonce aaaaaaaa, port 40001", "data 1 own>other to 192.0.2.10:5000 from port 1")
	r.openPorts(f, 1)
	return r, c, f
}

// X-PP-01, X-PP-02, X-PP-04, ST-X-03, A-28: a random port is opened and told when the NAT is known to be symmetric and to keep ports, not before.
func TestRandomPortConditions(t *testing.T) {
	for name, c := range map[string]struct {
		e   peer.Extensions
		nat peer.NAT
		ok  bool
	}{
		"X-PP-01: at the start":          {all, peer.NAT{}, false},
		"X-PP-02: port-preserving only":  {all, peer.NAT{PortPreserving: true}, false},
		"X-PP-04: symmetric only":        {ported, peer.NAT{Symmetric: true}, false},
		"X-PP-04: both":                  {ported, peer.NAT{Symmetric: true, PortPreserving: true}, true},
		"X-PP-04: both, without another": {onlyNonces, peer.NAT{Symmetric: true, PortPreserving: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, c.e, c.nat)
			want := nonced[1]
			if c.ok {
				want += ", port 40001"
			}
			r.want(r.send(data(own, other, 1)), nonced[0], want)
			r.openPorts(f, map[bool]int{true: 1}[c.ok])
		})
	}
}

// X-PP-04: a peer has one random port at most, which repeated bubbles tell. A trusted peer needs none.
func TestRandomPortSent(t *testing.T) {
	r, _, f := extendedRig(t, ported, preservingNAT)
	r.want(r.send(data(own, other, 1)), nonced[0], nonced[1]+", port 40001")
	r.want(r.wait(3*time.Second), "2s bubble own>other to other", "2s bubble own>other to peer-server, nonce n2, port 40001")
	r.openPorts(f, 1)
	r.receive(peerMapped, bubble(other, own))
	r.openPorts(f, 0)
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce), port(5000))), "bubble own>other to other, nonce aaaaaaaa")
	r.openPorts(f, 0)
}

// X-PP-05, X-PP-06, A-31: the direct bubbles that answer an untrusted peer: one from the service port, one from our random port, opened
// for that, to the peer's, with both trailers. Without a port of the peer the second goes to its mapping too, an addition
// of ours that connects to port-restricted peers.
func TestRandomPortAnswer(t *testing.T) {
	for told, at := range map[uint16]string{5000: "192.0.2.10:5000", 0: "other"} {
		r, _, f := extendedRig(t, ported, preservingNAT)
		r.want(r.receive(server, indirect(nonce(peerNonce), port(told))), "bubble own>other to other, nonce aaaaaaaa",
			"bubble own>other to "+at+" from port 1, nonce aaaaaaaa, port 40001",
			"bubble own>other to peer-server, nonce n1, port 40001")
		r.openPorts(f, 1)
	}
}

// X-PP-16, A-46: a client whose NAT is not symmetric sends to the peer's random port from its service port, after the pair (§6.4).
// the trailer may have the type that IANA has.
func TestPeerPortFromServicePort(t *testing.T) {
	for _, trailer := range [][]byte{port(5000), {2, 2, 5000 >> 8, 5000 & 0xff}} {
		r, _, f := extendedRig(t, ported, restrictedNAT)
		r.want(r.receive(server, indirect(nonce(peerNonce), trailer)), "bubble own>other to other, nonce aaaaaaaa",
			"bubble own>other to peer-server, nonce n1", "bubble own>other to 192.0.2.10:5000, nonce aaaaaaaa")
		r.openPorts(f, 0)
		r.wait(time.Second)
		r.receive(peerPort, with(nonce(r.lastNonce())))
		r.wait(2 * time.Second)
		r.want(r.receive(server, indirect(nonce(peerNonce2), trailer)), "bubble own>other to 192.0.2.10:5000, nonce bbbbbbbb")
	}
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.want(r.receive(server, indirect(nonce(peerNonce), port(5000))), "bubble own>other to other, nonce aaaaaaaa", "bubble own>other to peer-server, nonce n1")
	r, _, _ = extendedRig(t, ported, peer.NAT{Symmetric: true})
	r.want(r.receive(server, indirect(nonce(peerNonce), port(5000))), "bubble own>other to other, nonce aaaaaaaa", "bubble own>other to peer-server, nonce n1")
}

// X-PP-07, X-PP-08, K-19, A-48: another random port of the peer is ignored while its path is valid, and taken when it was idle for 30 s; then
// ours is given up. The same is no news. While there is no valid path a change is taken at once: a choice of ours, so that
// a peer can correct its prediction.
func TestPeerPortChanges(t *testing.T) {
	const told = "bubble own>other to 192.0.2.10:6000 from port 2, nonce bbbbbbbb, port "
	r, _, f := portRig(t, ported)
	r.wait(29 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2), port(6000))), "bubble own>other to 192.0.2.10:5000 from port 1, nonce bbbbbbbb, port 40001")
	r.wait(30*time.Second - 1)
	r.receiveAt(1, peerPort, bubble(other, own)) // still valid for 30 s
	r.wait(30 * time.Second)
	r.openPorts(f, 1)
	got := r.receive(server, indirect(nonce(peerNonce2), port(6000)))
	r.want(got, "bubble own>other to other, nonce bbbbbbbb", told+"40002", "bubble own>other to peer-server, nonce n2, port 40002")
	r.openPorts(f, 1)

	r, _, f = extendedRig(t, ported, preservingNAT)
	r.receive(server, indirect(nonce(peerNonce), port(5000)))
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2), port(5000)))[1:2], "bubble own>other to 192.0.2.10:5000 from port 1, nonce bbbbbbbb, port 40001")
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2), port(6000)))[1:2], told+"40002")
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2), port(0)))[1:2], told+"40002") // zero is none
	r.openPorts(f, 1)
}

// X-PP-09, X-PP-17: a bubble at the service port that is accepted has the random port closed; one that is not changes nothing.
func TestServicePortServes(t *testing.T) {
	for name, c := range map[string]struct {
		from  netip.AddrPort
		nonce bool
		ok    bool
	}{
		"X-PP-09: its mapping": {peerMapped, false, true}, "X-PP-09: elsewhere with the nonce": {peerMoved, true, true},
		"X-PP-17: elsewhere without": {peerMoved, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, ported, preservingNAT)
			r.send(data(own, other, 1))
			payload := bubble(other, own)
			if c.nonce {
				payload = with(nonce(r.lastNonce()))
			}
			got := r.receive(c.from, payload)
			if !c.ok {
				r.want(got, "drop 1 unknown-peer")
				r.openPorts(f, 1)
				return
			}
			r.openPorts(f, 0)
			if len(got) != 1 || got[0][:6] != "data 1" {
				t.Errorf("%q", got)
			}
			r.want(r.receiveAt(1, c.from, payload), "drop 1 unknown-peer")
		})
	}
}

// X-PP-10, K-19, A-29: at the service port, trusted: a bubble on the same path is accepted; another that may be right is dropped while the path
// is in use, and has the path given up after 30 s without any use, for an indirect bubble to find the new one.
func TestServicePortMapping(t *testing.T) {
	learn := func() *rig {
		r, _, _ := extendedRig(t, ported, preservingNAT)
		r.send(data(own, other, 1))
		r.wait(10 * time.Millisecond)
		r.receive(peerMoved, with(nonce(r.lastNonce())))
		r.receive(peerMoved, data(other, own, 1)) // nothing is in doubt
		return r
	}
	r := learn()
	r.wait(20 * time.Second)
	r.want(r.receive(peerMoved, bubble(other, own)))
	r.want(r.receive(peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9999")
	r.wait(29999 * time.Millisecond)
	r.want(r.receive(peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.wait(time.Millisecond)
	r.want(r.receive(peerMapped, bubble(other, own)), nonced[0], "bubble own>other to peer-server, nonce n2, port 40002")
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.want(r.send(data(own, other, 3)), "data 3 own>other to other")
}

// X-PP-11: with a path through the random port, a bubble at the service port with the same nonce moves the path there, and closes the
// random port. One without it may be made up.
func TestServicePortTakesOver(t *testing.T) {
	r, _, f := extendedRig(t, ported, preservingNAT)
	r.send(data(own, other, 1))
	r.receive(server, indirect(nonce(peerNonce), port(5000)))
	n := r.lastNonce()
	r.receiveAt(1, peerPort, with(nonce(n), port(5000)))
	r.want(r.receive(peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.receive(peerMapped, with(nonce(peerNonce))), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:5000 from port 1")
	r.want(r.receive(peerMapped, with(nonce(n))))
	r.openPorts(f, 0)
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other")
	r.want(r.receiveAt(1, peerPort, data(other, own, 3)), "drop 1 unknown-peer")
}

// X-PP-11: so it does when the service port had served before, and the random port since. When the path is not valid any more, no nonce
// is needed.
func TestServicePortTakesOverAgain(t *testing.T) {
	r, _, f := extendedRig(t, ported, preservingNAT)
	r.receive(peerMapped, bubble(other, own))
	r.wait(40 * time.Second)
	r.receive(server, indirect(nonce(peerNonce), port(5000)))
	r.receiveAt(1, peerPort, with(nonce(r.lastNonce())))
	r.want(r.send(data(own, other, 1)), "data 1 own>other to 192.0.2.10:5000 from port 1")
	r.want(r.receive(peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.wait(30 * time.Second)
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.openPorts(f, 0)
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other")
}

// X-SLR-02, X-PP-04: when an idle path through a random port does not answer, it is given up with the port.
func TestSolicitationFromPort(t *testing.T) {
	r, _, f := portRig(t, plain)
	r.wait(29 * time.Second)
	r.receiveAt(1, peerPort, bubble(other, own))
	r.wait(33 * time.Second) // refreshed 2 s ago
	const solicitation = "bubble own>other to 192.0.2.10:5000 from port 1, nonce aaaaaaaa, solicits"
	r.want(r.send(data(own, other, 2)), solicitation)
	r.want(r.wait(5*time.Second), "2s "+solicitation, "4s "+solicitation, "4s bubble own>other to peer-server, nonce n2, port 40002")
	r.openPorts(f, 1)
}

// X-PP-12, X-PP-15: a bubble at the random port with the nonce makes the path: data goes by it, both ways, and bubbles too.
func TestRandomPortPath(t *testing.T) {
	r, _, f := portRig(t, ported)
	r.want(r.receiveAt(1, peerPort, data(other, own, 2)), "deliver data 2 other>own")
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:5000 from port 1")
	r.want(r.receive(server, indirect(nonce(peerNonce2))), "bubble own>other to 192.0.2.10:5000 from port 1, nonce bbbbbbbb, port 40001")
	r.wait(25 * time.Second)
	r.want(r.send(data(own, other, 4)), "data 4 own>other to 192.0.2.10:5000 from port 1", "test own>other to 192.0.2.10:5000 from port 1")
	r.want(r.receiveAt(1, peerPort, r.reply()))
	r.openPorts(f, 1)
	r.want(r.receive(peerPort, data(other, own, 5)), "test own>other to 192.0.2.10:5000 from port 1") // the right place, the wrong port
	if v := incoming(r.m.Table(), data(other, own, 6), peerPort, 2, r.m.Table().Stamp(r.now)); v != peer.Ask {
		t.Errorf("a worker takes a packet at another port: %v", v)
	}
}

// X-PP-17: what comes to a random port without the nonce, with a wrong one, from another peer or from nobody makes no path.
func TestRandomPortRefuses(t *testing.T) {
	r, _, f := extendedRig(t, ported, preservingNAT)
	r.send(data(own, other, 1))
	n := r.lastNonce()
	for name, payload := range map[string][]byte{
		"no nonce": bubble(other, own), "wrong nonce": with(nonce(peerNonce)), "nonce zero": with(nonce([4]byte{})),
	} {
		t.Run("X-PP-17: "+name, func(t *testing.T) { r.want(r.receiveAt(1, peerPort, payload), "drop 1 unknown-peer") })
	}
	stranger := client(7)
	at := teredo.Mapped(stranger)
	r.want(r.receiveAt(1, at, bubble(stranger, own)), "drop 1 unknown-peer")
	r.want(r.receiveAt(1, at, data(stranger, own, 2)), "drop 1 unknown-peer")
	r.want(r.receiveAt(1, server, via(at, bubble(stranger, own))), "drop 1 unknown-peer")
	r.want(r.receiveAt(2, peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.receive(at, bubble(stranger, own)) // now an entry, but the port is not its own
	r.want(r.receiveAt(1, at, bubble(stranger, own)), "drop 1 unknown-peer")
	r.want(r.receiveAt(1, peerPort, with(nonce(n))), "data 1 own>other to 192.0.2.10:5000 from port 1")
	r.openPorts(f, 1)
}

// X-PP-13: at the random port, trusted: another mapping means that the NAT has made a new one, so the port is given up for an indirect
// bubble with a new one, unless the path is valid: then the bubble may be made up.
func TestRandomPortMapping(t *testing.T) {
	r, _, f := portRig(t, ported)
	r.want(r.receiveAt(1, peerPort, bubble(other, own)))
	r.wait(3 * time.Second)
	r.want(r.receiveAt(1, peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.wait(28 * time.Second)
	r.want(r.receiveAt(1, peerMapped, bubble(other, own)), "bubble own>other to other, nonce aaaaaaaa",
		"bubble own>other to 192.0.2.10:5000 from port 2, nonce aaaaaaaa, port 40002",
		"bubble own>other to peer-server, nonce n2, port 40002")
	r.openPorts(f, 1)
	r.want(r.receiveAt(1, peerPort, with(nonce(r.lastNonce()))), "drop 1 unknown-peer") // too late
	r.want(r.receiveAt(2, peerPort, with(nonce(r.lastNonce()))))
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:5000 from port 2")
}

// X-PP-13, X-SLR-03: a solicitation that has the path given up has no answer, for there is no path to answer by.
func TestNoAnswerWithoutPath(t *testing.T) {
	r, c, _ := portRig(t, plain)
	strict := labs
	strict.Broadcasts = []netip.Addr{peerServer.Addr()} // nothing may be sent to the peer's server any more
	c.SetFilter(strict)
	r.wait(33 * time.Second)
	r.want(r.receiveAt(1, peerMapped, with(discovery(teredo.DiscoverySolicitation))))
}

// X-PP-03, X-PP-14, K-17, A-30: a path through a random port is refreshed by a direct bubble on it each 30 s without data, 20 times at most.
// Data that is sent starts the count anew, what is received does not.
func TestPortRefresh(t *testing.T) {
	r, _, f := portRig(t, ported)
	const refresh = "bubble own>other to 192.0.2.10:5000 from port 1, nonce aaaaaaaa, port 40001"
	count := func(d time.Duration) (n int) {
		for end := r.now.Add(d); r.now.Before(end); {
			for _, line := range r.wait(time.Second) {
				if line[len(line)-len(refresh):] != refresh {
					t.Fatalf("%q", line)
				}
				n++
			}
			if n%3 == 1 {
				r.receiveAt(1, peerPort, bubble(other, own)) // its own
			}
		}
		return n
	}
	if n := count(29 * time.Second); n != 0 {
		t.Errorf("%d refreshes in the first 29 s", n)
	}
	if n := count(5 * time.Second); n != 0 { // X-PP-03: data was sent at the beginning
		t.Errorf("%d refreshes in the first 34 s", n)
	}
	if n := count(60 * time.Second); n != 2 {
		t.Errorf("%d refreshes in 60 s", n)
	}
	r.receiveAt(1, peerPort, bubble(other, own))
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:5000 from port 1")
	if n := count(1200 * time.Second); n != 20 {
		t.Errorf("%d refreshes in 20 minutes", n)
	}
	r.openPorts(f, 0) // idle, and forgotten
}

// X-PP-14, C-BUB-04: no answer at all: 20 refreshes, then the peer is forgotten. Without an address nothing is sent.
func TestPortRefreshUnanswered(t *testing.T) {
	r, c, f := portRig(t, ported)
	lines := r.wait(time.Hour)
	if len(lines) != 20 {
		t.Errorf("%d refreshes: %q", len(lines), lines)
	}
	r.openPorts(f, 0)
	if _, ok := r.m.Deadline(); ok || c.Len() != 0 {
		t.Error("it is not forgotten")
	}
	r, c, f = portRig(t, ported)
	c.SetAddress(netip.Addr{})
	r.want(r.wait(time.Hour))
	r.openPorts(f, 0)
}

// X-PP-01, X-PP-14: the Peer Refresh Timer begins with the first port, and Deadline knows it.
func TestPortRefreshDeadline(t *testing.T) {
	r, _, _ := portRig(t, ported)
	r.wait(980 * time.Millisecond) // 1 s after it
	const refresh = "bubble own>other to 192.0.2.10:5000 from port 1, nonce aaaaaaaa, port 40001"
	r.want(r.wait(2*time.Minute), "59s "+refresh, "1m29s "+refresh, "1m59s "+refresh) // in the first 30 s, data was sent
}

// Every random port is closed in the end, whatever comes of the peer, and no more than the caller allows are open.
func TestRandomPortsAreClosed(t *testing.T) {
	for name, end := range map[string]func(r *rig, c *peer.Client){
		"failure":          func(r *rig, c *peer.Client) { r.wait(2 * time.Minute) },
		"address change":   func(r *rig, c *peer.Client) { c.SetAddress(other); r.report() },
		"no address":       func(r *rig, c *peer.Client) { c.SetAddress(netip.Addr{}); r.wait(2 * time.Minute) },
		"trust elsewhere":  func(r *rig, c *peer.Client) { r.receive(peerMapped, bubble(other, own)) },
		"data at the port": func(r *rig, c *peer.Client) { r.receive(peerMapped, data(other, own, 2)) },
		"eviction": func(r *rig, c *peer.Client) {
			for n := range 100 { // a stranger cannot push out what we look for
				r.outgoing(data(own, native(n), 1))
			}
			flood(r, 200)
		},
		"idle, forgotten":   func(r *rig, c *peer.Client) { r.wait(time.Hour) },
		"another peer port": func(r *rig, c *peer.Client) { r.wait(9 * time.Second); r.wait(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, begin := range []func(r *rig){
				func(r *rig) { r.send(data(own, other, 1)) },
				func(r *rig) { r.receive(server, indirect(nonce(peerNonce), port(5000))) },
			} {
				r, c, f := extendedRig(t, ported, preservingNAT)
				begin(r)
				r.openPorts(f, 1)
				end(r, c)
				r.openPorts(f, 0)
			}
		})
	}
}

// flood gives the client packets of many clients that are new.
func flood(r *rig, n int) {
	for i := range n {
		a := client(i)
		r.receive(teredo.Mapped(a), bubble(a, own))
	}
}

// X-PP-15: when no more ports are to be had, or none opens, peers are looked for without one.
func TestRandomPortsRunOut(t *testing.T) {
	for _, nat := range []peer.NAT{preservingNAT, sequentialNAT} {
		r, _, f := extendedRig(t, plain, nat)
		f.most = 3
		for i := range 5 {
			r.send(data(own, client(i), uint32(i)))
			r.receive(server, via(peerServer, append(bubble(client(i+20), own), port(5000)...)))
		}
		r.openPorts(f, 3)
		f.most = 0
		if got := r.send(data(own, other, 1)); len(got) != 2 || got[0] != nonced[0] || strings.Contains(got[1], "port 4") {
			t.Errorf("%q", got)
		}
		r.want(r.receive(peerMapped, bubble(other, own)), "data 1 own>other to other")
		r.wait(5 * time.Minute)
		r.openPorts(f, 0)
	}
}

// A port that was opened for an answer stays open for 30 s at least, whenever the Peer Refresh Timer expires.
func TestRandomPortOutlivesRefresh(t *testing.T) {
	r, _, f := portRig(t, ported)
	r.wait(29900 * time.Millisecond)
	far := client(3)
	r.receive(server, via(peerServer, append(append(bubble(far, own), nonce(peerNonce)...), port(5000)...)))
	r.openPorts(f, 2)
	r.wait(29 * time.Second)
	r.openPorts(f, 2)
	r.wait(32 * time.Second)
	r.openPorts(f, 1)
}
