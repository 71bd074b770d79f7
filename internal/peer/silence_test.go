package peer_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
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

// A relay that has restarted, or moved, is found by a test after half a second of transmissions that nothing has come back for.
// Data goes on meanwhile, and the answer may come by another relay: then the packet goes again that was lost (X-COM-02).
func TestSilentRelay(t *testing.T) {
	r := heardOf(t)
	r.want(r.sendFor(400*time.Millisecond, 100*time.Millisecond))
	r.wait(100 * time.Millisecond)
	r.want(r.send(data(own, host, 2)), "data 2 own>host to relay1", "test own>host to server")
	r.want(r.wait(4*time.Second), "2s test own>host to server", "4s test own>host to server")
	r.want(r.send(data(own, host, 3)), "data 3 own>host to relay1")
	r.want(r.receive(relay2, r.reply()), "data 2 own>host to relay2")
	r.want(r.send(data(own, host, 4)), "data 4 own>host to relay2")
}

// TCP that repeats a segment ever more rarely has the path tried at the second repetition, and gets it repeated at once by another
// relay. It is not repeated by the path itself.
func TestSilenceOfTCP(t *testing.T) {
	for name, answering := range map[string]netip.AddrPort{"moved": relay2, "lost": relay1} {
		t.Run(name, func(t *testing.T) {
			r := heardOf(t)
			r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")
			r.want(r.wait(200 * time.Millisecond))
			r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")
			r.want(r.wait(400 * time.Millisecond))
			r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
			var again []string
			if answering == relay2 {
				again = []string{"data 1 own>host to relay2"}
			}
			r.want(r.receive(answering, r.reply()), again...)
		})
	}
}

// A flow that nobody answers has its path tried half a second after the last answer, then each time after twice as long, and in the
// end, as ever, 20 s after each test. Only data from the host has that begin anew: the path may have failed after the answer to a test.
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
		if got := fmt.Sprint(tests); got != "[600ms 1.6s 3.6s 7.6s 15.6s 31.6s 51.6s]" {
			t.Errorf("tests at %s", got)
		}
		r.receive(relay1, data(host, own, 2))
	}
}

// An answer within half a second, and a pause of 2 s, have the count begin anew: the last packet before a pause may want no answer.
// Two packets show nothing, however far apart: an acknowledgement, and the next question.
func TestNoSilence(t *testing.T) {
	for name, c := range map[string]struct {
		gap      time.Duration
		answered bool
	}{"answered": {400 * time.Millisecond, true}, "pauses": {2 * time.Second, false}, "two": {1900 * time.Millisecond, true}} {
		t.Run(name, func(t *testing.T) {
			r := heardOf(t)
			for n := range uint32(3) {
				r.want(r.sendFor(0, 0))
				r.want(r.wait(c.gap))
				r.want(r.sendFor(0, 0))
				if c.answered || n == 2 {
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

// What workers have sent since others have heard of the host is not answered by what the others tell later.
func TestSilenceToldLate(t *testing.T) {
	r := heardOf(t)
	c, heard := r.m.(carrier), r.now
	r.want(r.wait(200 * time.Millisecond))
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")
	c.Carried(r.now, host, relay1, heard, traffic(10), traffic(10))
	r.want(r.wait(400 * time.Millisecond))
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")
	r.want(r.wait(800 * time.Millisecond))
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
}

// A flow that others carry is in doubt in time also when nothing more is sent: then the next packet is the workers'.
func TestSilenceWithoutMore(t *testing.T) {
	r := heardOf(t)
	c, heard := r.m.(carrier), r.now
	r.want(r.wait(200 * time.Millisecond))
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1")
	r.wait(400 * time.Millisecond)
	if !c.Carried(r.now, host, relay1, heard, traffic(1), traffic(0)) {
		t.Error("in doubt too early")
	}
	r.wait(500 * time.Millisecond)
	if c.Carried(r.now, host, relay1, heard, traffic(0), traffic(0)) {
		t.Error("not in doubt")
	}
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
}

// A flow that others carry goes back to the workers when it is silent, and they have the path tried. Then others may carry it
// again, whether or not there was an answer.
func TestSilenceForOthers(t *testing.T) {
	r := heardOf(t)
	c := r.m.(carrier)
	heard := r.now
	for range 2 {
		if !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
			t.Fatalf("in doubt after %v", r.now.Sub(heard))
		}
		r.wait(250 * time.Millisecond)
	}
	if c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
		t.Error("not in doubt after half a second")
	}
	r.want(r.send(data(own, host, 1)), "data 1 own>host to relay1", "test own>host to server")
	for range 3 {
		if _, _, ok := c.Confirmed(r.now, own, host); !ok || !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(0)) {
			t.Error("in doubt after it was tried")
		}
		r.wait(300 * time.Millisecond)
	}
	for n := range 9 { // an answer in every other round
		var received uint64
		if n%2 == 0 {
			heard, received = r.now, 1
		}
		if !c.Carried(r.now, host, relay1, heard, traffic(10), traffic(received)) {
			t.Errorf("in doubt in round %d", n)
		}
		r.wait(300 * time.Millisecond)
	}
}

// While the control goroutine has not heard yet that a path is in doubt, workers go on to send by it: a fast flow neither waits for
// that goroutine, whose queue is short, nor overtakes what does.
func TestDoubtHoldsNothingUp(t *testing.T) {
	r := heardOf(t)
	r.wait(time.Second)
	packet, refreshes := data(own, host, 1), 0
	for i := range 1000 {
		switch _, _, action := r.m.Table().Outgoing(packet, 1, len(packet), r.m.Table().Stamp(r.now)); action {
		case peer.Ask:
			t.Fatalf("packet %d waits for the control goroutine", i)
		case peer.Refresh:
			refreshes++
		}
		r.now = r.now.Add(time.Millisecond)
	}
	if refreshes == 0 {
		t.Error("the path is never in doubt")
	}
}
