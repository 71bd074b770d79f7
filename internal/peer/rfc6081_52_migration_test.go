package peer_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// verifiedRig is a client with a path to the peer that a nonce has verified, and with another nonce under way.
func verifiedRig(t testing.TB) *rig {
	r, _, _ := extendedRig(t, plain, restrictedNAT)
	r.send(data(own, other, 1))
	r.wait(100 * time.Millisecond)
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "data 1 own>other to 192.0.2.10:9999")
	// The peer asks twice, as it does not hear us: by then an indirect bubble asks where it is.
	r.wait(3 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to 192.0.2.10:9999, nonce aaaaaaaa")
	r.wait(2 * time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2))), "bubble own>other to 192.0.2.10:9999, nonce bbbbbbbb", "bubble own>other to peer-server, nonce n2")
	r.wait(2 * time.Second)
	return r
}

// again is where the peer says that it is now.
var again = netip.MustParseAddrPort("192.0.2.10:9001")

// The tests of a path whose peer has sent our nonce from elsewhere.
var contested = []string{"bubble own>other to 192.0.2.10:9999, nonce bbbbbbbb, solicits", "test own>other to 192.0.2.10:9999"}

// X-SNS-08, X-SNS-12: a peer that has really moved is found at its new place after the two seconds of a test. What it has sent from there waits.
func TestPeerMoves(t *testing.T) {
	r := verifiedRig(t)
	n := r.lastNonce()
	r.want(r.receive(again, with(nonce(n))), contested...)
	r.want(r.receive(again, with(nonce(n))), "drop 1 unknown-peer")
	r.want(r.receive(again, data(other, own, 2)))
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:9999")
	r.want(r.wait(2*time.Second), "2s deliver data 2 other>own")
	r.want(r.send(data(own, other, 4)), "data 4 own>other to 192.0.2.10:9001")
	r.want(r.wait(5 * time.Second))
}

// X-SNS-08: a peer that is still where it was stays there: by its answer to the test, by a bubble with the nonce, or by any packet, as it
// was verified to be there before. Neither the same nonce nor another one gets a second chance meanwhile.
func TestPeerStays(t *testing.T) {
	for name, answer := range map[string]func(r *rig) []byte{
		"answer":       func(r *rig) []byte { return r.reply() },
		"bubble":       func(r *rig) []byte { return with(nonce(r.lastNonce())) },
		"plain bubble": func(r *rig) []byte { return bubble(other, own) },
		"data":         func(r *rig) []byte { return data(other, own, 9) },
	} {
		t.Run(name, func(t *testing.T) {
			r := verifiedRig(t)
			r.want(r.receive(again, with(nonce(r.lastNonce()))), contested...)
			r.wait(time.Second)
			r.receive(peerMoved, answer(r))
			r.wait(5 * time.Second)
			r.receive(again, with(nonce(r.lastNonce())))
			r.want(r.send(data(own, other, 4)), "data 4 own>other to 192.0.2.10:9999")
		})
	}
}

// A path that only a source address has told is not kept by packets with that address: when somebody has made it up, the nonce tells
// where the peer is. The true peer's answer keeps it.
func TestPathThatNothingProves(t *testing.T) {
	begin := func() *rig {
		r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
		r.send(data(own, other, 1))
		r.wait(10 * time.Millisecond)
		r.want(r.receive(peerMapped, bubble(other, own)), "data 1 own>other to other")
		r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))), "test own>other to other")
		r.wait(time.Second)
		return r
	}
	r := begin()
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.want(r.receive(peerMapped, data(other, own, 2)), "deliver data 2 other>own")
	r.wait(time.Second)
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:9999")
	r.want(r.receive(peerMapped, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 4)), "data 4 own>other to 192.0.2.10:9999")

	r = begin()
	r.want(r.receive(peerMapped, r.reply()))
	r.want(r.wait(5 * time.Second))
	r.want(r.send(data(own, other, 3)), "data 3 own>other to other")
}

// X-SNS-08: a nonce is void 10 s after it was sent, when the search has ended and its last answers have had their time.
func TestNonceExpires(t *testing.T) {
	for wait, want := range map[time.Duration]string{9 * time.Second: "192.0.2.10:9999", 10 * time.Second: ""} {
		r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
		r.want(r.receive(server, indirect(nonce(peerNonce))), "bubble own>other to other, nonce aaaaaaaa", "bubble own>other to peer-server, nonce n1")
		r.wait(wait)
		got := r.receive(peerMoved, with(nonce(r.lastNonce())))
		if want == "" {
			r.want(got, "drop 1 unknown-peer")
			continue
		}
		r.want(got)
		r.want(r.send(data(own, other, 1)), "data 1 own>other to "+want)
	}
}

// X-SNS-08, X-SNS-10: 65,536 wrong nonces make ours void. Fewer do no harm to the peer that answers.
func TestGuesses(t *testing.T) {
	for guesses, void := range map[uint32]bool{20_000: false, 1 << 16: false, 1<<16 + 1: true} {
		r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
		r.send(data(own, other, 1))
		var guess [4]byte
		for n := range guesses {
			binary.BigEndian.PutUint32(guess[:], 1<<31|n)
			r.incoming(peerMoved, with(nonce(guess)))
		}
		r.report()
		got := r.receive(peerMoved, with(nonce(r.lastNonce())))
		if void {
			r.want(got, "drop 1 unknown-peer")
			r.wait(2 * time.Second) // the search draws another one
			got = r.receive(peerMoved, with(nonce(r.lastNonce())))
		}
		r.want(got, "data 1 own>other to 192.0.2.10:9999")
	}
}

// X-SNS-05, A-50: an indirect bubble that was made up does not make the client forget the nonce that the peer expects: for 10 s what it
// sends of its own accord goes with both. The answers to indirect bubbles carry theirs alone, and one that is beyond the limit of
// bubbles, and has no answer, replaces nothing.
func TestNonceIsNotReplaced(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.receive(server, indirect(nonce(peerNonce)))
	r.wait(time.Second)
	r.want(r.receive(server, indirect(nonce(peerNonce2))), "bubble own>other to other, nonce bbbbbbbb")
	r.want(r.send(data(own, other, 1)))
	r.want(r.wait(3*time.Second), "2s bubble own>other to other, nonce bbbbbbbb", "2s bubble own>other to other, nonce aaaaaaaa",
		"2s bubble own>other to peer-server, nonce n2")
	r.receive(server, indirect(nonce([4]byte{1}))) // the fourth
	r.want(r.receive(server, indirect(nonce([4]byte{2}))))
	r.wait(time.Second)
	r.receive(peerMapped, bubble(other, own))
	r.wait(31 * time.Second)
	r.want(r.send(data(own, other, 2)), "bubble own>other to other, nonce 01000000", "bubble own>other to peer-server, nonce n3")
}

// C-LOC-08, C-RX-14: a local path that is not verified asks the peer through its server, and gives way to it wherever it
// comes from, and to the mapping in the address. Proven, it stays.
func TestLocalPathIsProven(t *testing.T) {
	begin := func() *rig {
		r, c, _ := extendedRig(t, onlyNonces, restrictedNAT)
		c.SetSubnets([]netip.Prefix{lan})
		c.SetDiscovery(r.now, true)
		r.wait(time.Second)
		r.discovered(c, nearAt, announcement(other))
		r.want(r.receive(nearAt, bubble(other, own)), nonced...)
		r.want(r.send(data(own, other, 1)), "data 1 own>other to 10.0.0.7:4000")
		return r
	}
	r := begin() // an impostor
	r.want(r.receive(peerMoved, with(nonce(r.lastNonce()))))
	r.want(r.receive(nearAt, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9999")

	r = begin() // a peer that knows no nonces
	r.want(r.receive(peerMapped, bubble(other, own)))
	r.want(r.receive(nearAt, bubble(other, own)), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 2)), "data 2 own>other to other")

	r = begin() // a neighbour, heard through a NAT that hairpins first
	n := r.lastNonce()
	r.want(r.receive(peerMapped, with(nonce(n))))
	r.want(r.receive(nearAt, with(nonce(n))))
	r.want(r.receive(peerMapped, with(nonce(n))), "drop 1 unknown-peer")
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 10.0.0.7:4000")
}

// C-RX-11, C-RX-17: a hundred thousand echo replies that are made up, with the right identifier, pass no test, and leave the path as it is.
func TestForgedEchoReplies(t *testing.T) {
	for name, peerAddr := range map[string]netip.Addr{"native": host, "client": other} {
		r, _, _ := extendedRig(t, plain, restrictedNAT)
		at, thief := relay1, relay2
		if name == "client" {
			at = peerMapped
		}
		r.send(data(own, peerAddr, 1))
		if name == "client" {
			r.receive(at, bubble(other, own))
		} else {
			r.receive(at, r.reply())
		}
		r.wait(25 * time.Second)
		r.send(data(own, peerAddr, 2)) // has the path tested
		echo, err := teredo.ParseEcho(r.reply())
		if err != nil {
			t.Fatal(err)
		}
		var guess [8]byte
		for n := range uint64(100_000) {
			binary.BigEndian.PutUint64(guess[:], 1<<63|n)
			r.incoming(thief, teredo.AppendEchoReply(nil, peerAddr, teredo.AppendEchoRequest(nil, own, peerAddr, echo.ID, 1, guess[:])))
		}
		r.report()
		if i := r.m.(*peer.Client).Peers(r.now, 1); len(i) != 1 || i[0].Endpoint != at {
			t.Errorf("%s: %+v", name, i)
		}
	}
}
