package peer_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// predicted is prediction of ports with what it needs.
var predicted = peer.Extensions{SymmetricNAT: true, PortPreserving: true, Sequential: true}

// The bubbles and solicitations of an echo test from the random port 1.
var echoTest = []string{
	"solicitation to server from port 1", "bubble own>other to other from port 1", "solicitation to 203.0.113.9:3544 from port 1",
}

// after puts the time since a wait began before lines.
func after(d string, lines ...string) (all []string) {
	for _, line := range lines {
		all = append(all, d+" "+line)
	}
	return all
}

// advertisement is an answer to the nth solicitation of an echo test, which was seen at the port.
func (r *rig) advertisement(n int, seen uint16) []byte {
	r.Helper()
	if n >= len(r.echoTests) {
		r.Fatalf("only %d solicitations were sent", len(r.echoTests))
	}
	b := teredo.AppendAuth(nil, teredo.Auth{Nonce: r.echoTests[n]})
	b = teredo.AppendOrigin(b, netip.AddrPortFrom(ownMapped.Addr(), seen))
	return teredo.AppendRouterAdvertisement(b, server.Addr(), teredo.ClientLinkLocal(false, netip.AddrPort{}))
}

// X-SEQ-01, X-SEQ-02: behind a symmetric NAT that does not keep ports, an echo test takes the place of the indirect bubble: from a
// random port, solicitations with nonces of their own before and after a bubble to the peer. X-SEQ-04, X-SEQ-05, A-02: the answers tell the
// port between, which the indirect bubble tells the peer; the half is rounded down.
func TestEchoTest(t *testing.T) {
	for name, c := range map[string]struct {
		lower, upper uint16
		want         string
	}{
		"X-SEQ-05":         {1200, 1202, "1201"},
		"rounded down":     {1200, 1203, "1201"},
		"down the numbers": {1203, 1200, "1201"},
		"no overflow":      {65533, 65535, "65534"},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, predicted, sequentialNAT)
			r.want(r.send(data(own, other, 1)), append([]string{"bubble own>other to other"}, echoTest...)...)
			r.openPorts(f, 1)
			if r.echoTests[0] == r.echoTests[1] {
				t.Error("the solicitations have the same nonce")
			}
			r.want(r.receiveAt(1, secondary, r.advertisement(1, c.upper)))
			r.want(r.receiveAt(1, server, r.advertisement(0, c.lower)), "bubble own>other to peer-server, nonce n1, port "+c.want)
			r.want(r.receiveAt(1, server, r.advertisement(0, 9)), "drop 1 advertisement") // it is over
			r.want(r.receiveAt(1, peerMapped, with(nonce(r.lastNonce()))), "data 1 own>other to other from port 1")
		})
	}
}

// X-SEQ-01: an echo test needs all of its conditions, else the indirect bubble leaves at once.
func TestEchoTestConditions(t *testing.T) {
	for name, c := range map[string]struct {
		e   peer.Extensions
		nat peer.NAT
	}{
		"not symmetric":        {predicted, restrictedNAT},
		"keeps ports":          {onlyNonces, preservingNAT},
		"off":                  {ported, sequentialNAT},
		"no secondary address": {predicted, peer.NAT{Symmetric: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r, _, f := extendedRig(t, c.e, c.nat)
			r.want(r.send(data(own, other, 1)), nonced...)
			r.openPorts(f, 0)
		})
	}
	r, _, f := extendedRig(t, predicted, sequentialNAT) // trusted
	r.receive(peerMapped, bubble(other, own))
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to other, nonce aaaaaaaa")
	r.openPorts(f, 0)
}

// X-SEQ-03, X-SEQ-06, X-SEQ-09, ST-X-04, K-18, A-27: without both answers a second test begins after 1 s, and 2 s after that the indirect bubble leaves without a
// prediction. Answers to the first test do not count in the second, and ports of the two do not mix.
func TestEchoTestTimesOut(t *testing.T) {
	r, _, f := extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	r.receiveAt(1, server, r.advertisement(0, 1200))
	r.want(r.wait(time.Second), after("1s", echoTest...)...)
	r.want(r.receiveAt(1, secondary, r.advertisement(1, 1202)), "drop 1 advertisement")
	r.want(r.receiveAt(1, secondary, r.advertisement(3, 1302)))
	r.want(r.wait(2*time.Second), "2s bubble own>other to peer-server, nonce n1")
	r.openPorts(f, 0)
	r.want(r.receiveAt(1, server, r.advertisement(2, 1300)), "drop 1 advertisement")

	r, _, f = extendedRig(t, predicted, sequentialNAT) // only the second is answered
	r.send(data(own, other, 1))
	r.wait(time.Second)
	r.receiveAt(1, server, r.advertisement(2, 1300))
	r.want(r.receiveAt(1, secondary, r.advertisement(3, 1302)), "bubble own>other to peer-server, nonce n1, port 1301")
	r.openPorts(f, 1)
}

// X-SEQ-06: the answer to a peer's indirect bubble waits for an echo test as well, and leaves without a prediction when that fails.
func TestEchoTestForAnswer(t *testing.T) {
	r, _, f := extendedRig(t, predicted, sequentialNAT)
	r.want(r.receive(server, indirect(nonce(peerNonce), port(5000))), "bubble own>other to other, nonce aaaaaaaa",
		"solicitation to server from port 1", "bubble own>other to 192.0.2.10:5000 from port 1, nonce aaaaaaaa",
		"solicitation to 203.0.113.9:3544 from port 1")
	lines := r.wait(10 * time.Second)
	if len(lines) != 4 || lines[3] != "3s bubble own>other to peer-server, nonce n1" {
		t.Errorf("%q", lines)
	}
	r.openPorts(f, 0)

	r.receive(server, indirect(nonce(peerNonce2)))
	n := len(r.echoTests)
	r.receiveAt(2, server, r.advertisement(n-2, 1400))
	r.want(r.receiveAt(2, secondary, r.advertisement(n-1, 1402)), "bubble own>other to peer-server, nonce n2, port 1401")
	r.want(r.wait(5 * time.Second))
	r.wait(time.Minute)
	r.openPorts(f, 0)
}

// X-SEQ-04, X-SEQ-09: an answer counts with its nonce and from the server that was asked, once, at the peer's own port.
func TestEchoTestAnswers(t *testing.T) {
	r, _, _ := extendedRig(t, predicted, sequentialNAT)
	ra := func(nonce []byte) []byte {
		b := teredo.AppendAuth(nil, teredo.Auth{Nonce: [8]byte(nonce)})
		b = teredo.AppendOrigin(b, netip.AddrPortFrom(ownMapped.Addr(), 1200))
		return teredo.AppendRouterAdvertisement(b, server.Addr(), own)
	}
	r.want(r.receiveAt(1, server, ra(make([]byte, 8))), "drop 1 advertisement") // no port is open
	r.send(data(own, other, 1))
	good := r.advertisement(0, 1200)
	var p teredo.Packet
	if err := p.Parse(good); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		at      uint8
		from    netip.AddrPort
		payload []byte
	}{
		"zero":                  {1, server, ra(make([]byte, 8))},
		"wrong nonce":           {1, server, ra([]byte("whatever"))},
		"nonce of the other":    {1, server, r.advertisement(1, 1200)},
		"another server":        {1, secondary, good},
		"a peer":                {1, peerMapped, good},
		"another random port":   {2, server, good},
		"without nonce":         {1, server, via(ownMapped, p.IPv6)},
		"without origin":        {1, server, append(teredo.AppendAuth(nil, p.Auth), p.IPv6...)},
		"origin port 0, ignore": {1, server, r.advertisement(0, 0)},
	} {
		t.Run("X-SEQ-04: "+name, func(t *testing.T) {
			if name == "origin port 0, ignore" {
				r.want(r.receiveAt(c.at, c.from, c.payload))
				return
			}
			r.want(r.receiveAt(c.at, c.from, c.payload), "drop 1 advertisement")
		})
	}
	r.want(r.receiveAt(1, server, good))
	r.want(r.receiveAt(1, server, r.advertisement(0, 7)), "drop 1 advertisement") // the first counts
	r.m.(*peer.Client).SetAddress(netip.Addr{})
	r.want(r.receiveAt(1, secondary, r.advertisement(1, 1202)), "drop 1 advertisement")
	r.m.(*peer.Client).SetAddress(own)
	r.want(r.receiveAt(1, secondary, r.advertisement(1, 1202)), "bubble own>other to peer-server, nonce n1, port 1201")
}

// X-SEQ-07: a direct bubble at the service port ends a running echo test; one at the random port, too.
func TestEchoTestEnds(t *testing.T) {
	r, _, f := extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	r.receiveAt(1, server, r.advertisement(0, 1200))
	r.want(r.receive(peerMapped, bubble(other, own)), "data 1 own>other to other")
	r.openPorts(f, 0)
	r.want(r.receiveAt(1, secondary, r.advertisement(1, 1202)), "drop 1 advertisement")
	r.want(r.receive(peerMapped, data(other, own, 2)), "deliver data 2 other>own") // nothing is in doubt
	r.want(r.wait(10 * time.Second))

	r, _, f = extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	r.want(r.receiveAt(1, peerMapped, bubble(other, own)), "data 1 own>other to other from port 1")
	r.want(r.receiveAt(1, server, r.advertisement(0, 1200)), "drop 1 advertisement")
	r.want(r.wait(10 * time.Second))
	r.openPorts(f, 1)
}

// X-SEQ-08: after the Peer Refresh Timer the next search begins with the first echo test: another follows it.
func TestEchoTestAfterRefresh(t *testing.T) {
	r, _, f := extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	r.receiveAt(1, server, r.advertisement(0, 1200))
	r.receiveAt(1, secondary, r.advertisement(1, 1202))
	r.receiveAt(1, peerPort, with(nonce(r.lastNonce())))
	r.wait(40 * time.Second)
	r.want(r.wait(40*time.Second), "20s bubble own>other to 192.0.2.10:5000 from port 1, port 1201")
	r.want(r.send(data(own, other, 2)), "bubble own>other to other", "bubble own>other to peer-server, nonce n2, port 1201")
	r.wait(2 * time.Second) // the second time with the old prediction
	var test []string
	for _, line := range echoTest {
		test = append(test, strings.Replace(line, "port 1", "port 2", 1))
	}
	first := append([]string{"bubble own>other to other"}, test...)
	r.want(r.wait(3*time.Second), append(after("2s", first...), after("3s", test...)...)...)
	r.openPorts(f, 1)
}

// X-SEQ-06: the search ends in time when no server answers, with every bubble sent, and all ports are closed.
func TestEchoTestsInVain(t *testing.T) {
	r, _, f := extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	lines := r.wait(30 * time.Second)
	if last := lines[len(lines)-2]; last != "20s "+unreachable(1)[0] {
		t.Errorf("%q", lines)
	}
	r.wait(time.Minute)
	r.openPorts(f, 0)
	if got := len(r.nonces); got != 4 {
		t.Errorf("%d indirect bubbles", got)
	}
}

// X-SEQ-09: with a running test the peer is not looked for in any other way, and an advertisement at the service port is none of it.
func TestEchoTestIsNotQualification(t *testing.T) {
	r, _, _ := extendedRig(t, predicted, sequentialNAT)
	r.send(data(own, other, 1))
	r.want(r.send(data(own, other, 2)))
	if got := r.receive(server, r.advertisement(0, 1200)); len(got) != 1 || got[0] != "drop 1 destination" {
		t.Errorf("%q", got)
	}
}
