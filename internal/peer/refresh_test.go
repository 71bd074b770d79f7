package peer_test

import (
	"fmt"
	"testing"
	"time"
)

// A flow in one direction never stalls: 20 s after the last reception the path is tried anew while packets go on, so that
// the 30 s of K-07 do not run out (X-COM-02). Each row is one kind of peer.
func TestOneWayFlow(t *testing.T) {
	for _, c := range []struct {
		name   string
		rig    func(testing.TB) *rig
		open   func(*rig) // learns the path
		packet func(n uint32) []byte
		sent   string // what becomes of a packet
		ask    string // what a refresh sends
		answer func(*rig)
	}{
		{
			name: "client to native through a relay", rig: newClientRig,
			open:   func(r *rig) { r.send(data(own, host, 0)); r.receive(relay1, r.reply()) },
			packet: func(n uint32) []byte { return data(own, host, n) },
			sent:   "data %d own>host to relay1", ask: "test own>host to server",
			answer: func(r *rig) { r.want(r.receive(relay1, r.reply())) },
		},
		{
			name: "client to client", rig: newClientRig,
			open:   func(r *rig) { r.receive(peerMapped, bubble(other, own)) },
			packet: func(n uint32) []byte { return data(own, other, n) },
			sent:   "data %d own>other to other", ask: "test own>other to other",
			answer: func(r *rig) { r.want(r.receive(peerMapped, r.reply())) },
		},
		{
			name: "relay to client", rig: newRelayRig,
			open:   func(r *rig) { r.send(data(host, other, 0)); r.receive(peerMapped, bubble(other, relayLL)) },
			packet: func(n uint32) []byte { return data(host, other, n) },
			sent:   "data %d host>other to other", ask: knock,
			answer: func(r *rig) { r.want(r.receive(peerMapped, bubble(other, relayLL))) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := c.rig(t)
			c.open(r)
			asked := 0
			for n := uint32(1); n <= 3000; n++ { // 300 s, ten packets a second
				r.want(r.wait(100 * time.Millisecond))
				lines := r.send(c.packet(n))
				want := []string{fmt.Sprintf(c.sent, n)}
				if len(lines) == 2 {
					asked++
					want = append(want, c.ask)
				}
				r.want(lines, want...)
				if len(lines) == 2 {
					r.wait(50 * time.Millisecond)
					c.answer(r)
				}
			}
			if asked < 13 || asked > 15 {
				t.Errorf("%d refreshes in 300 s", asked)
			}
		})
		t.Run(c.name+", answer lost at first", func(t *testing.T) {
			r := c.rig(t)
			c.open(r)
			r.wait(20 * time.Second)
			r.want(r.send(c.packet(1)), fmt.Sprintf(c.sent, 1), c.ask)
			r.want(r.send(c.packet(2)), fmt.Sprintf(c.sent, 2)) // asked for once
			r.want(r.wait(2*time.Second), "2s "+c.ask)
			c.answer(r)
			r.want(r.wait(19 * time.Second))
			r.want(r.send(c.packet(3)), fmt.Sprintf(c.sent, 3))
			r.wait(time.Second)
			r.want(r.send(c.packet(4)), fmt.Sprintf(c.sent, 4), c.ask) // and again
		})
	}
}

func newClientRig(t testing.TB) *rig { r, _ := clientRig(t); return r }
func newRelayRig(t testing.TB) *rig  { r, _ := relayRig(t); return r }

// A packet of the peer ends a refresh under way, also when only the workers see it.
func TestRefreshEndedByData(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(20 * time.Second)
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other", "test own>other to other")
	r.wait(time.Second)
	r.want(r.receive(peerMapped, data(other, own, 2)), "deliver data 2 other>own")
	r.want(r.wait(10 * time.Second))
	if r.m.Waiting() != 0 {
		t.Error("the refresh goes on")
	}
	r.wait(10 * time.Second) // 20 s after that packet there is need for another one
	r.want(r.send(data(own, other, 3)), "data 3 own>other to other", "test own>other to other")
}

// A refresh of a path whose host is being tested anew already, because of a packet from elsewhere, adds nothing to it.
func TestRefreshDuringTest(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 0))
	r.receive(relay1, r.reply())
	r.wait(19 * time.Second)
	r.want(r.receive(relay2, data(host, own, 1)), "test own>host to server")
	r.wait(time.Second)
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1")
	r.want(r.wait(time.Second), "1s test own>host to server")
	r.want(r.receive(relay1, r.reply()), "test own>host to relay2")
}

// A refresh whose flow has stopped ends with the path's validity: it does not turn into a search that nobody waits for.
func TestRefreshOfStoppedFlow(t *testing.T) {
	r, _ := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(25 * time.Second)
	r.want(r.send(data(own, other, 1)), "data 1 own>other to other", "test own>other to other")
	r.want(r.wait(time.Minute), "2s test own>other to other", "4s test own>other to other")
}

// A refresh that fails leaves the path as long as it is valid, and does not shorten the search after it: that has all its
// transmissions.
func TestSearchAfterRefresh(t *testing.T) {
	r, _ := clientRig(t)
	r.send(data(own, host, 0))
	r.receive(relay1, r.reply())
	r.wait(20 * time.Second)
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
	r.want(r.wait(9*time.Second), "2s test own>host to server", "4s test own>host to server", "6s test own>host to server")
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1") // 29 s
	r.wait(time.Second)
	r.want(r.send(data(own, host, 3)), "test own>host to server")

	r, _ = clientRig(t)
	r.send(data(own, host, 0))
	r.receive(relay1, r.reply())
	r.wait(25 * time.Second)
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
	r.want(r.wait(5*time.Second), "2s test own>host to server", "4s test own>host to server")
	r.want(r.send(data(own, host, 2))) // 30 s: held, the running test serves it too
	r.want(r.wait(time.Minute), "1s test own>host to server", "3s test own>host to server", "5s test own>host to server",
		"7s test own>host to server", "9s deliver unreachable server>own, data 2 own>host", "9s drop 1 no-path")
}

// A refresh is not made for a path that is gone, not known, or was heard of since it was asked for.
func TestRefreshNotNeeded(t *testing.T) {
	for name, newRig := range map[string]func(testing.TB) *rig{"client": newClientRig, "relay": newRelayRig} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.m.Refresh(r.now, data(own, other, 1), &r.out)
			r.want(r.report())
			r.m.Establish(other, peerMapped, r.m.Table().Stamp(r.now))
			r.m.Refresh(r.now, data(own, other, 1), &r.out)
			r.want(r.report())
			r.wait(30 * time.Second)
			r.m.Refresh(r.now, data(own, other, 1), &r.out)
			r.want(r.report())
		})
	}
	r, c := clientRig(t)
	r.receive(peerMapped, bubble(other, own))
	r.wait(25 * time.Second)
	c.SetAddress(other)
	c.SetAddress(own)
	r.m.Refresh(r.now, data(own, other, 1), &r.out)
	r.want(r.report())
}
