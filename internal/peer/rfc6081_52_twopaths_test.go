package peer_test

import (
	"testing"
	"time"
)

// A peer behind a symmetric NAT has sent the same nonce from two ports, and both bubbles have got through. The path is that of the
// first, and data is taken from the other, too: also such that came before its bubble.
func TestSecondPath(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	n := r.lastNonce()
	r.want(r.receive(peerMoved, with(nonce(n))), "data 1 own>other to 192.0.2.10:9999")
	r.want(r.receive(peerPort, with(nonce(n), port(5000))), "drop 1 unknown-peer")
	r.want(r.receive(peerPort, data(other, own, 2)), "deliver data 2 other>own")
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:9999")

	r, _, _ = extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	n = r.lastNonce()
	r.receive(peerMoved, with(nonce(n)))
	r.want(r.receive(peerPort, data(other, own, 2)), "test own>other to 192.0.2.10:9999")
	r.want(r.receive(peerPort, with(nonce(n), port(5000))), "drop 1 unknown-peer")
	r.want(r.receive(peerMoved, r.reply()), "deliver data 2 other>own")
}

// X-SNS-08: the service port is better than the random port, in whatever order bubbles come from them. The random port counts on.
func TestSecondPathIsBetter(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	n := r.lastNonce()
	r.want(r.receive(peerPort, with(nonce(n), port(5000))), "data 1 own>other to 192.0.2.10:5000")
	r.want(r.receive(peerMoved, with(nonce(n))))
	r.want(r.send(data(own, other, 2)), "data 2 own>other to 192.0.2.10:9999")
	r.want(r.receive(peerPort, with(nonce(n), port(5000))), "drop 1 unknown-peer") // repeated: it stays so
	r.want(r.send(data(own, other, 3)), "data 3 own>other to 192.0.2.10:9999")
	r.want(r.receive(peerPort, data(other, own, 4)), "deliver data 4 other>own")
}

// Without the nonce there is no second path (X-SNS-08).
func TestSecondPathNeedsNonce(t *testing.T) {
	r, _, _ := extendedRig(t, onlyNonces, restrictedNAT)
	r.send(data(own, other, 1))
	r.receive(peerMoved, with(nonce(r.lastNonce())))
	r.want(r.receive(relay2, with(nonce(peerNonce))), "drop 1 unknown-peer")
	r.want(r.receive(relay2, with(nonce([4]byte{}))), "drop 1 unknown-peer")
	r.want(r.receive(relay2, data(other, own, 2)), "test own>other to 192.0.2.10:9999")
	r.want(r.receive(peerMoved, r.reply()), "drop 1 untested")
	r.want(r.wait(10 * time.Second))
}

// X-HP-04, X-HP-08, ST-X-05: data that comes from an alternate address before its bubble waits for that; from another private address it is dropped.
func TestAlternateData(t *testing.T) {
	r, _, _ := extendedRig(t, all, restrictedNAT)
	r.receive(server, indirect(nonce(peerNonce), alternates(nearAt)))
	n := r.lastNonce()
	r.want(r.receive(nearAt, data(other, own, 1)))
	r.want(r.receive(ownLocal, data(other, own, 2)), "drop 1 not-global")
	r.want(r.receive(nearAt, with(nonce(n))), "deliver data 1 other>own")
}
