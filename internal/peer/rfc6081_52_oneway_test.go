package peer_test

import (
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
)

// doubtful is a client behind a symmetric NAT that has sent a packet on a path that a bubble has told.
func doubtful(t *testing.T, nat peer.NAT) *rig {
	r, _, _ := extendedRig(t, onlyNonces, nat)
	r.send(data(own, other, 1))
	r.want(r.receive(peerMapped, with(nonce(r.lastNonce()))), "data 1 own>other to other")
	return r
}

// A bubble does not show that our packets get through a symmetric NAT. When nothing but bubbles comes back, the sender learns that
// the peer is unreachable, after the time that a search takes.
func TestDoubt(t *testing.T) {
	for name, nat := range map[string]peer.NAT{"symmetric": symmetricNAT, "with a mapping": upnpNAT} {
		t.Run(name, func(t *testing.T) {
			r := doubtful(t, nat)
			r.want(r.wait(3*time.Second), "2s test own>other to other")
			r.want(r.receive(peerMapped, with(nonce(peerNonce))))
			r.want(r.wait(6*time.Second), "1s test own>other to other", "3s test own>other to other",
				"5s deliver unreachable server>own, data 1 own>other", "5s drop 1 no-path")
			r.want(r.send(data(own, other, 2)), "bubble own>other to other", "bubble own>other to peer-server, nonce n2")
		})
	}
}

// Data of the peer, or its answer to the test, proves the path.
func TestDoubtEnds(t *testing.T) {
	r := doubtful(t, symmetricNAT)
	r.want(r.receive(peerMapped, data(other, own, 2)), "deliver data 2 other>own")
	r.want(r.wait(20 * time.Second))

	r = doubtful(t, symmetricNAT)
	r.want(r.wait(2*time.Second), "2s test own>other to other")
	r.want(r.receive(peerMapped, r.reply()))
	r.want(r.wait(10 * time.Second))
	r.want(r.send(data(own, other, 3)), "data 3 own>other to other")
}

// Behind another NAT there is no doubt: what we send leaves by the mapping that the bubble came by.
func TestNoDoubt(t *testing.T) {
	r := doubtful(t, restrictedNAT)
	r.want(r.wait(20 * time.Second))
}
