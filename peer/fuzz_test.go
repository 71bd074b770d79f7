package peer_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// script is a fuzzer's input for a machine: steps of one byte that says what happens, two with a length, and a payload.
//
//	0 a packet of the local stack        3 a datagram from its own source's mapping
//	1 a datagram from the server         4 time passes, as many deciseconds as the payload has bytes
//	2 a datagram from a relay            5 a datagram from where the payload's first 6 bytes say
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
	return s[0] % 6, s[3:end:end], s[end:]
}

// FuzzInbound gives sequences of anything to a client and to a relay. They never panic, stay whole, send at most two
// datagrams for one that they receive (SEC-NOAMP-01), not counting those that were waiting to leave, none to an address
// that is not global, and come to rest.
func FuzzInbound(f *testing.F) {
	echo := teredo.AppendEchoRequest(nil, host, own, 1, 1, []byte("ping"))
	trailer := append(data(other, own, 1), 0x40, 0)
	for _, s := range []script{
		script{}.step(0, data(own, other, 1)).step(3, bubble(other, own)).step(3, data(other, own, 2)).step(4, make([]byte, 250)).step(0, data(own, other, 1)),
		script{}.step(0, data(own, host, 1)).step(2, echo).step(1, via(relay1, bubble(relayLL, own))).step(4, make([]byte, 90)),
		script{}.step(1, via(peerServer, bubble(other, own))).step(1, via(relay1, echo)).step(2, data(host, own, 1)),
		script{}.step(0, data(host, other, 1)).step(0, data(host, other, 2)).step(3, bubble(other, relayLL)).step(3, data(other, host, 1)),
		script{}.step(3, trailer).step(5, append([]byte{10, 0, 0, 1, 1, 1}, data(other, own, 1)...)),
		script{}.step(1, append(teredo.AppendAuth(nil, teredo.Auth{}), via(relay1, bubble(host, own))...)),
	} {
		f.Add(false, []byte(s))
		f.Add(true, []byte(s))
	}
	f.Fuzz(func(t *testing.T, relay bool, input []byte) {
		r := newClientRig(t)
		if relay {
			r = newRelayRig(t)
		}
		for s := script(input); len(s) > 0; {
			var what byte
			var payload []byte
			what, payload, s = s.next()
			r.play(what, payload)
		}
		r.wait(20 * time.Second)
		r.report()
		if r.m.Held() != 0 || r.m.Waiting() != 0 {
			t.Errorf("%d bytes held, %d searches", r.m.Held(), r.m.Waiting())
		}
	})
}

// play carries out one step and checks what comes of it.
func (r *rig) play(what byte, payload []byte) {
	var p teredo.Packet
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
	case 5:
		if len(payload) < 6 {
			return
		}
		from = netip.AddrPortFrom(netip.AddrFrom4([4]byte(payload)), binary.BigEndian.Uint16(payload[4:]))
		payload = payload[6:]
	}
	waiting := 0
	for _, i := range r.m.Peers(r.now, 1000) {
		waiting += i.Held
	}
	r.incoming(from, payload)
	r.check(2 + waiting)
}

// check verifies the datagrams of one step, at most so many.
func (r *rig) check(most int) {
	sent := r.out.UDP.Datagrams()
	if len(sent) > most {
		r.Errorf("%d datagrams, at most %d are due", len(sent), most)
	}
	for _, d := range sent {
		if !public(d.Remote) {
			r.Errorf("a datagram to %v", d.Remote)
		}
	}
	r.report()
}
