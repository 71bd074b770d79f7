package peer_test

import (
	"fmt"
	"testing"
	"time"
)

// heardOf makes a client whose path to the host leads through relay1, from where data has just come.
func heardOf(t testing.TB) *rig {
	r := newClientRig(t)
	r.wait(time.Second)
	openRelay(r)
	r.want(r.receive(relay1, data(host, own, 0)), "deliver data 0 host>own")
	return r
}

// sendFor sends a packet at once and after each gap, and returns after how long tests were sent.
func (r *rig) sendFor(long, gap time.Duration) (tests []string) {
	r.Helper()
	start := r.now
	for {
		for _, line := range r.send(data(own, host, 1)) {
			if line != "data 1 own>host to relay1" {
				tests = append(tests, fmt.Sprint(r.now.Sub(start)))
			}
		}
		if r.now.Sub(start) >= long {
			return tests
		}
		tests = append(tests, r.wait(gap)...)
	}
}

// A relay that has restarted, or moved, is found by a test after 5 s of transmissions that nothing has come back for. Data
// goes on meanwhile, and the answer may come by another relay (X-COM-02).
func TestSilentRelay(t *testing.T) {
	r := heardOf(t)
	r.want(r.sendFor(4900*time.Millisecond, 100*time.Millisecond))
	r.wait(100 * time.Millisecond)
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1", "test own>host to server")
	r.want(r.wait(4*time.Second), "2s test own>host to server", "4s test own>host to server")
	r.want(r.send(data(own, host, 3)), "data 3 own>host to relay1")
	r.want(r.receive(relay2, r.reply()))
	r.want(r.send(data(own, host, 4)), "data 4 own>host to relay2")
}

// A flow that nobody answers has its path tried 5 s after the last answer and then as ever, 20 s after each test. Data from the
// host counts, and answers to tests do not.
func TestSilenceOfOneWayFlow(t *testing.T) {
	r := heardOf(t)
	for range 2 {
		var tests []time.Duration
		start := r.now
		for r.now.Sub(start) < 60*time.Second {
			r.want(r.wait(100 * time.Millisecond))
			if len(r.send(data(own, host, 1))) == 2 {
				tests = append(tests, r.now.Sub(start))
				r.want(r.receive(relay1, r.reply()))
			}
		}
		if got := fmt.Sprint(tests); got != "[5.1s 25.1s 45.1s]" {
			t.Errorf("tests at %s", got)
		}
		r.receive(relay1, data(host, own, 2))
	}
}

// An answer within 5 s, and a pause of 5 s, have the count begin anew: the last packet before a pause may want no answer.
func TestNoSilence(t *testing.T) {
	for name, gap := range map[string]time.Duration{"answered": 4 * time.Second, "pauses": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			r := heardOf(t)
			for n := range uint32(3) {
				r.want(r.sendFor(0, 0))
				r.want(r.wait(gap))
				r.want(r.sendFor(0, 0))
				if name == "answered" || n == 2 {
					r.receive(relay1, data(host, own, n))
				}
			}
		})
	}
}

// The one path to a Teredo peer, for clients and relays, is not tried before 20 s: no other could be found.
func TestSilentPeer(t *testing.T) {
	for name, newRig := range map[string]func(testing.TB) *rig{"client": newClientRig, "relay": newRelayRig} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			src := own
			if name == "relay" {
				src = host
			}
			r.m.Establish(other, peerMapped, r.m.Table().Stamp(r.now))
			for range 19 {
				r.want(r.send(data(src, other, 1)), fmt.Sprintf("data 1 %s>other to other", map[string]string{"client": "own", "relay": "host"}[name]))
				r.want(r.wait(time.Second))
			}
		})
	}
}

// A flow that others carry goes back to the workers when it is silent, and they have the path tried. Then others may carry it
// again, whether or not there was an answer.
func TestSilenceForOthers(t *testing.T) {
	r := heardOf(t)
	c := r.m.(carrier)
	heard := r.now
	for range 5 { // the first account finds the first transmission
		if !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
			t.Fatalf("in doubt after %v", r.now.Sub(heard))
		}
		r.wait(time.Second)
	}
	if c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
		t.Error("not in doubt after 5 s")
	}
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
	for range 3 {
		if _, _, ok := c.Confirmed(r.now, own, host); !ok || !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
			t.Error("in doubt after it was tried")
		}
		r.wait(time.Second)
	}
	for n := range 9 { // silent for 4 s, then an answer
		var received uint64
		if n == 4 {
			heard, received = r.now, 1
		}
		if !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(received)) {
			t.Errorf("in doubt in round %d", n)
		}
		r.wait(time.Second)
	}
}
