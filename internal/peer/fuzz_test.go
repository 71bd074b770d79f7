package peer_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// script is a fuzzer's input for a machine: steps of one byte that says what happens, two with a length, and a payload.
//
//	0 a packet of the local stack        3 a datagram from its own source's mapping
//	1 a datagram from the server         4 time passes, as many deciseconds as the payload has bytes
//	2 a datagram from a relay            5 a datagram from where the payload's first 6 bytes say
//	6 the same at the random port that the next byte numbers
//	7 the same as 6, with the nonce of the last indirect bubble behind it
//	8 an answer to one of the last two solicitations of echo tests, seen at the port that the payload's first 2 bytes say
type script []byte

func (s script) step(what byte, payload []byte) script {
	s = binary.BigEndian.AppendUint16(append(s, what), uint16(len(payload)))
	return append(s, payload...)
}

func (s script) next() (what byte, payload []byte, rest script) {
	if len(s) < 3 {
		return 0, nil, nil
	}
	end := min(3+int(binary.BigEndian.Uint16(s[1:])), len(s))
	return s[0] % 9, s[3:end:end], s[end:]
}

// Machines that FuzzInbound plays its scripts with. From the third on, clients have all extensions.
const (
	plainClient = iota
	plainRelay
	behindRestricted
	behindPreserving
	behindSequential
	behindUPnP
	machines
)

// FuzzInbound gives sequences of anything to a client and to a relay. They never panic, stay whole, send at most two
// datagrams for one that they receive (SEC-NOAMP-01), with the extensions as many as these define, not counting those that
// were waiting to leave, none to an address that is not allowed, and come to rest.
func FuzzInbound(f *testing.F) {
	echo := teredo.AppendEchoRequest(nil, host, own, 1, 1, []byte("ping"))
	trailer := append(data(other, own, 1), 0x40, 0)
	peerAt := append(netip.MustParseAddr("192.0.2.10").AsSlice(), 5000>>8, 5000&0xff)
	asked := indirect(nonce(peerNonce), port(5000), alternates(nearAt, peerMapped))
	for _, s := range []script{
		script{}.step(0, data(own, other, 1)).step(3, bubble(other, own)).step(3, data(other, own, 2)).step(4, make([]byte, 250)).step(0, data(own, other, 1)),
		script{}.step(0, data(own, host, 1)).step(2, echo).step(1, via(relay1, bubble(relayLL, own))).step(4, make([]byte, 90)),
		script{}.step(1, via(peerServer, bubble(other, own))).step(1, via(relay1, echo)).step(2, data(host, own, 1)),
		script{}.step(0, data(host, other, 1)).step(0, data(host, other, 2)).step(3, bubble(other, relayLL)).step(3, data(other, host, 1)),
		script{}.step(3, trailer).step(5, append([]byte{10, 0, 0, 1, 1, 1}, data(other, own, 1)...)),
		script{}.step(1, append(teredo.AppendAuth(nil, teredo.Auth{}), via(relay1, bubble(host, own))...)),
		script{}.step(0, data(own, other, 1)).step(1, asked).step(7, append(append(peerAt, 1), bubble(other, own)...)).step(4, make([]byte, 400)).step(0, data(own, other, 2)),
		script{}.step(0, data(own, other, 1)).step(8, []byte{4, 176, 0}).step(8, []byte{4, 178, 1}).step(7, append(append(peerAt, 0), bubble(other, own)...)),
		script{}.step(1, asked).step(6, append(append(peerAt, 1), data(other, own, 1)...)).step(4, make([]byte, 30)).step(1, asked),
		script{}.step(3, bubble(other, own)).step(4, make([]byte, 400)).step(0, data(own, other, 1)).step(3, with(discovery(0))).step(3, with(discovery(1))),
	} {
		for m := range byte(machines) {
			f.Add(m, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, input []byte) {
		r := newFuzzRig(t, int(kind)%machines)
		for s := script(input); len(s) > 0; {
			var what byte
			var payload []byte
			what, payload, s = s.next()
			r.play(what, payload)
		}
		r.wait(40 * time.Second)
		r.report()
		if r.m.Held() != 0 || r.m.Waiting() != 0 {
			t.Errorf("%d bytes held, %d searches", r.m.Held(), r.m.Waiting())
		}
		if r.ports != nil && len(r.ports.open) > 0 {
			r.wait(20 * time.Minute)
			r.openPorts(r.ports, 0)
		}
	})
}

// fuzzRig is a rig with what FuzzInbound needs to know of it.
type fuzzRig struct {
	*rig
	ports *randomPorts // nil without extensions
}

func newFuzzRig(t testing.TB, kind int) *fuzzRig {
	switch kind {
	case plainClient:
		r, _ := clientRig(t)
		return &fuzzRig{rig: r}
	case plainRelay:
		r, _ := relayRig(t)
		return &fuzzRig{rig: r}
	}
	nats := map[int]peer.NAT{
		behindRestricted: restrictedNAT, behindPreserving: preservingNAT, behindSequential: sequentialNAT, behindUPnP: upnpNAT,
	}
	r, _, f := extendedRig(t, all, nats[kind])
	f.most = 4
	return &fuzzRig{rig: r, ports: f}
}

// play carries out one step and checks what comes of it.
func (r *fuzzRig) play(what byte, payload []byte) {
	var p teredo.Packet
	var at uint8
	from := server
	switch what {
	case 0:
		r.outgoing(payload)
		r.check(2 + peer.MaxHeld)
		return
	case 2:
		from = relay1
	case 3:
		if p.Parse(payload) != nil || !teredo.IsTeredo(teredo.Source(p.IPv6)) {
			return
		}
		from = teredo.Mapped(teredo.Source(p.IPv6))
	case 4:
		r.wait(time.Duration(len(payload)) * 100 * time.Millisecond)
		return
	case 5, 6, 7:
		if len(payload) < 7 {
			return
		}
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(payload)), binary.BigEndian.Uint16(payload[4:]))
		payload = payload[6:]
		if what > 5 {
			at, payload = payload[0]%5, payload[1:]
		}
		if what == 7 && len(r.nonces) > 0 {
			payload = append(payload, nonce(r.lastNonce())...)
		}
	case 8:
		n := len(r.echoTests)
		if len(payload) < 3 || n < 2 {
			return
		}
		which := int(payload[2] & 1)
		from, at = []netip.AddrPort{server, secondary}[which], 1
		payload = r.advertisement(n-2+which, binary.BigEndian.Uint16(payload))
	}
	if r.ports == nil {
		at = 0
	}
	waiting := 0
	for _, i := range r.m.Peers(r.now, 1000) {
		waiting += i.Held
	}
	if at != 0 {
		r.incomingAt(at, from, payload)
	} else {
		r.incoming(from, payload)
	}
	r.check(2 + waiting)
}

// answers is how many datagrams one received may bring about with the extensions: a direct bubble to the peer's mapping and
// one from our random port, four to alternate addresses, and the three of an echo test in place of an indirect bubble; or
// one to the peer's random port.
const answers = 2 + 4 + 3

// check verifies the datagrams of one step, at most so many without extensions.
func (r *fuzzRig) check(most int) {
	sent := r.out.UDP.Datagrams()
	if r.ports != nil {
		most += answers - 2
	}
	if len(sent) > most {
		r.Errorf("%d datagrams, at most %d are due", len(sent), most)
	}
	for _, d := range sent {
		ip := d.Remote.Addr()
		alternate := r.ports != nil && !ip.IsLoopback() && ip.As4()[0] > 0 && ip.As4()[0] < 224 && d.Remote.Port() != 0 && d.Remote.Port() != teredo.Port && ip != ownLocal.Addr()
		if !public(d.Remote) && !alternate {
			r.Errorf("a datagram to %v", d.Remote)
		}
		if r.ports != nil && d.Via != 0 && !r.ports.open[d.Via] {
			r.Errorf("a datagram from port %d, which is not open", d.Via)
		}
	}
	r.report()
}
