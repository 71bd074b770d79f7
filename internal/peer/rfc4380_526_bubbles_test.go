package peer_test

import (
	"testing"
	"time"
)

var pair = []string{"bubble own>other to other", "bubble own>other to peer-server"}

// C-BUB-01, K-12: a new entry's last transmission lies back far enough for the first bubble.
func TestFirstBubbleAtOnce(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.send(data(own, other, 1)), pair...)
	r, _ = clientRig(t)
	r.want(r.receive(server, via(peerServer, bubble(other, own))), pair...)
}

// C-BUB-03, K-09: no bubble within 2 s of the last transmission, which data is too. The packet waits until it may.
func TestBubbleSpacing(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(29500 * time.Millisecond)
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other", "test own>other to other")
	r.wait(500 * time.Millisecond)
	r.want(r.send(data(own, other, 2)))
	r.want(r.wait(2*time.Second), "1.5s bubble own>other to other", "1.5s bubble own>other to peer-server")

	// Without a refresh under way: the entry was known, untrusted, and an answer went out 1 s ago.
	r, _ = clientRig(t)
	r.want(r.receive(server, via(peerServer, bubble(other, own))), pair...)
	r.wait(time.Second)
	r.want(r.send(data(own, other, 1)))
	r.want(r.wait(2*time.Second), "1s bubble own>other to other", "1s bubble own>other to peer-server")
}

// C-BUB-04, C-BUB-05: after four pairs without a direct response there are none until the first is 300 s old. Packets
// fail at once meanwhile.
func TestBubbleCap(t *testing.T) {
	r, _ := clientRig(t)
	r.want(r.send(data(own, other, 1)), pair...)
	r.wait(10 * time.Second)
	for range 28 {
		r.want(r.send(data(own, other, 2)), "deliver unreachable server>own, data 2 own>other", "drop 1 no-path")
		r.want(r.receive(server, via(peerServer, bubble(other, own)))) // C-BUB-06: binds answers too
		r.want(r.wait(10 * time.Second))
	}
	r.wait(10*time.Second - 1) // 1 ns before 300 s
	r.want(r.send(data(own, other, 3)), "deliver unreachable server>own, data 3 own>other", "drop 1 no-path")
	r.wait(1)
	r.want(r.send(data(own, other, 4)), pair...)
	r.want(r.wait(time.Minute), "2s "+pair[0], "2s "+pair[1], "4s "+pair[0], "4s "+pair[1], "6s "+pair[0], "6s "+pair[1],
		"8s deliver unreachable server>own, data 4 own>other", "8s drop 1 no-path")
}

// C-BUB-05: a direct response starts the count anew, be it handled on the slow path or on the fast one.
func TestBubbleCountResets(t *testing.T) {
	r, _ := clientRig(t)
	for range 3 {
		r.want(r.send(data(own, other, 1)), pair...)
		r.wait(5 * time.Second) // two more pairs
		r.want(r.receive(peerMapped, bubble(other, own)), "data 1 own>other to other")
		r.wait(31 * time.Second)
	}
	r.want(r.receive(server, via(peerServer, bubble(other, own))), pair...)
	r.want(r.receive(peerMapped, data(other, own, 1)), "deliver data 1 other>own")
	for range 3 { // answers, each after a response that only the workers see
		r.wait(3 * time.Second)
		r.want(r.receive(server, via(peerServer, bubble(other, own))), pair[0])
		r.wait(time.Second)
		r.want(r.receive(peerMapped, data(other, own, 2)), "deliver data 2 other>own")
	}
	r.wait(3 * time.Second)
	r.want(r.receive(server, via(peerServer, bubble(other, own))), pair[0])
}

// C-BUB-04: bubbles without a response still count when a packet came just before them, and when the search that they
// were part of has ended.
func TestBubbleCountStays(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	for range 4 {
		r.wait(2 * time.Second)
		r.want(r.receive(server, via(peerServer, bubble(other, own))), pair[0]) // at 2, 4, 6, 8 s, trusted
	}
	for range 100 {
		r.wait(2 * time.Second)
		r.want(r.receive(server, via(peerServer, bubble(other, own))))
	}
	r.want(r.send(data(own, other, 1)), "deliver unreachable server>own, data 1 own>other", "drop 1 no-path")
}

// C-BUB-06: two clients that answer each other's bubbles come to rest. Nothing gets through between them directly.
func TestBubblesDoNotBounce(t *testing.T) {
	r, _ := clientRig(t)
	sent := 0
	for range 10000 { // whatever we send indirectly brings an indirect bubble back
		lines := r.receive(server, via(peerServer, bubble(other, own)))
		if len(lines) == 0 {
			r.wait(100 * time.Millisecond)
		}
		sent += len(lines)
	}
	if r.now.Sub(epoch) < 900*time.Second {
		t.Fatalf("only %v have passed", r.now.Sub(epoch))
	}
	if sent > 2*4*4 {
		t.Errorf("%d bubbles in %v", sent, r.now.Sub(epoch))
	}
}
