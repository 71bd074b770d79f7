package peer_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// nats are the kinds of NATs that change what the extensions do.
var nats = map[string]peer.NAT{
	"restricted": restrictedNAT, "symmetric": symmetricNAT, "preserving": preservingNAT, "sequential": sequentialNAT, "UPnP": upnpNAT,
}

// tally counts the datagrams that lines tell of, by destination.
type tally map[string]int

func (n tally) add(lines []string) {
	for _, line := range lines {
		_, to, sent := strings.Cut(line, " to ")
		if to, _, _ = strings.Cut(to, ","); sent {
			to, _, _ = strings.Cut(to, " ")
			n[to]++
		}
	}
}

// SEC-NOAMP-01, K-09: one data packet that is made up starts a bounded exchange: what a packet of our own stack for the same
// peer would start. Then there is silence for 300 s, whatever else comes.
func TestSpoofedData(t *testing.T) {
	for name, nat := range nats {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, all, nat)
			n := tally{}
			n.add(r.receive(peerMoved, data(other, own, 1)))
			n.add(r.wait(30 * time.Second))
			for i := range 200 {
				n.add(r.receive(peerMoved, data(other, own, uint32(i))))
				n.add(r.wait(time.Second))
			}
			bubbles, servers := n["other"], n["peer-server"]+n["server"]+n["203.0.113.9:3544"]
			if most := map[bool]int{true: 3 * 4, false: 4}[nat == sequentialNAT]; bubbles > most || servers > 4+2*2*4 || len(n) > 4 {
				t.Errorf("sent %v", n)
			}
			r.wait(5 * time.Minute)
			r.openPorts(f, 0)
		})
	}
}

// SEC-DOS-01, X-HP-09: a peer's random port and alternate addresses get a bubble each for an accepted indirect bubble, four
// times in 300 s, however many come and whatever they tell.
func TestSpoofedIndirectBubbles(t *testing.T) {
	for name, nat := range nats {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, all, nat)
			n := tally{}
			for i := range 1000 {
				victim := netip.MustParseAddrPort("192.0.2.200:53")
				n.add(r.receive(server, indirect(nonce([4]byte{1, byte(i >> 8), byte(i)}), port(uint16(5000+i)), alternates(victim, nearAt))))
				n.add(r.wait(290 * time.Millisecond))
			}
			if n["192.0.2.200:53"] > 4 || n["10.0.0.7:4000"] > 4 {
				t.Errorf("alternate addresses get %v", n)
			}
			ports, total := 0, 0
			for to, count := range n {
				total += count
				if at, err := netip.ParseAddrPort(to); err == nil && at.Addr() == peerMapped.Addr() {
					ports += count
				}
			}
			if ports > 4*3 || total > 4*answers+8 {
				t.Errorf("sent %v", n)
			}
			r.wait(5 * time.Minute)
			r.openPorts(f, 0)
		})
	}
}

// SEC-DOS-01, X-PP-15: random ports are bounded by what the caller opens, and those of peers with a path are not taken away for new ones.
func TestRandomPortsBounded(t *testing.T) {
	r, _, f := portRig(t, all)
	r.receiveAt(1, peerPort, data(other, own, 1))
	r.receiveAt(1, peerPort, data(other, own, 2)) // established
	f.most = 8
	for i := range 500 {
		a := client(i)
		r.receive(server, via(teredo.Mapped(a), append(append(bubble(a, own), nonce(peerNonce)...), port(5000)...)))
		if len(f.open) > 8 {
			t.Fatalf("%d ports are open", len(f.open))
		}
	}
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:5000 from port 1")
}

// C-TX-08, SEC-V4-03: a bubble that would have to go to what is no global address does not leave, whichever extension asks for it.
func TestSpoofedMapping(t *testing.T) {
	for _, bad := range []string{"10.0.0.9:4000", "127.0.0.1:4000", "224.0.0.1:4000", "255.255.255.255:4000", "0.0.0.0:4000", "192.0.2.9:0"} {
		for name, nat := range nats {
			t.Run(name+", "+bad, func(t *testing.T) {
				at := netip.MustParseAddrPort(bad)
				for _, a := range []netip.Addr{
					teredo.Address{Server: peerServer.Addr(), Mapped: at}.Addr(),
					teredo.Address{Server: at.Addr(), Mapped: peerMapped}.Addr(),
				} {
					if a == (teredo.Address{Server: netip.MustParseAddr("192.0.2.9"), Mapped: peerMapped}.Addr()) {
						continue // only its port is bad
					}
					r, _, _ := extendedRig(t, all, nat)
					payload := append(append(bubble(a, own), nonce(peerNonce)...), port(5000)...)
					r.want(r.receive(server, via(peerServer, payload)), "drop 1 not-global")
					n := tally{}
					n.add(r.receive(peerMoved, payload))
					n.add(r.receive(peerMoved, data(a, own, 1)))
					n.add(r.wait(30 * time.Second))
					if len(n) > 0 {
						t.Errorf("sent %v", n)
					}
				}
			})
		}
	}
}
