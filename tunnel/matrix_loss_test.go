package tunnel_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/integration/natsim"
)

// eachConnected runs a test for each pair of NATs that connects, and tells how it does when nothing goes wrong.
func eachConnected(t *testing.T, test func(t *testing.T, from, to natKind, smooth outcome)) {
	for _, from := range natKinds() {
		for _, to := range natKinds() {
			var smooth outcome
			natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
				smooth = pair(in, from, to, allExtensions(), 1).connect()
			})
			if smooth.connected {
				t.Run(from.name+" to "+to.name, func(t *testing.T) { test(t, from, to, smooth) })
			}
		}
	}
}

// Whichever packet of an exchange is lost on the public internet, so that the NATs have noticed it, the path comes about all the
// same, within the time of two repetitions. Lost data is lost, as anywhere, but not what follows.
func TestMatrixLoss(t *testing.T) {
	eachConnected(t, func(t *testing.T, from, to natKind, smooth outcome) {
		n := 1
		for ; connectWithout(t, from, to, n, smooth); n++ {
		}
		if n < 5 {
			t.Errorf("the exchange has only %d packets", n)
		}
	})
}

// connectWithout connects without the n-th packet on the public internet. It reports false when there were fewer.
func connectWithout(t *testing.T, from, to natKind, n int, smooth outcome) (lost bool) {
	natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
		p := pair(in, from, to, allExtensions(), 1)
		rule := p.Lose(n, natsim.Any)
		o := p.connect()
		if lost = rule.Dropped(); !lost {
			return
		}
		packet := dropped(t, &world{Internet: in})
		if packet.Packet.Kind() == "data" {
			p.exchange(direct)
			return
		}
		if most := smooth.first + 2*timeout + 5*hop; !o.connected || o.first > most {
			t.Errorf("connected is %v after %v, want it within %v without %v", o.connected, o.first, most, packet)
		}
	})
	return lost && !t.Failed()
}

// On links that reorder and duplicate, every pair connects that does on better ones, whatever the seed makes of its packets and
// the ports of the NATs. A first packet may get lost when the two sides at first choose different paths.
func TestMatrixReordering(t *testing.T) {
	const seeds = 5
	eachConnected(t, func(t *testing.T, from, to natKind, smooth outcome) {
		for seed := uint64(1); seed <= seeds; seed++ {
			t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
				natsim.Test(t, seed, func(t *testing.T, in *natsim.Internet) {
					p := pair(in, from, to, allExtensions(), 1)
					bad := natsim.Link{Delay: 10 * time.Millisecond, Jitter: 80 * time.Millisecond, Duplicate: 0.2}
					p.fromNAT.SetLink(bad)
					p.toNAT.SetLink(bad)
					p.from.Send(p.to.Addr(), "first")
					time.Sleep(smooth.first + 2*timeout + time.Second)
					p.to.Received()
					p.exchange(time.Second)
				})
			})
		}
	})
}

// exchange sends a packet, and an answer to it, which must both arrive within the time given.
func (p *pairing) exchange(within time.Duration) {
	p.from.Send(p.to.Addr(), "next")
	p.to.Next(within)
	p.to.Send(p.from.Addr(), "back")
	p.from.Next(within)
}

// After a silence every pair connects again: a short one, through which the NATs keep their mappings, and long ones, after which
// the NATs, or the clients, have forgotten everything (X-SLR-01, X-SLR-02).
func TestMatrixSilence(t *testing.T) {
	eachConnected(t, func(t *testing.T, from, to natKind, smooth outcome) {
		for _, lifetime := range []time.Duration{time.Minute, 5 * time.Minute} {
			for _, silence := range []time.Duration{45 * time.Second, 90 * time.Second, 4 * time.Minute, 6 * time.Minute, 12 * time.Minute, 20 * time.Minute} {
				from.cfg.Lifetime, to.cfg.Lifetime = lifetime, lifetime
				t.Run(fmt.Sprintf("%v, NATs forget after %v", silence, lifetime), func(t *testing.T) {
					natsim.Test(t, 1, func(t *testing.T, in *natsim.Internet) {
						p := pair(in, from, to, allExtensions(), 1)
						p.connect()
						time.Sleep(silence)
						p.exchange(connectWithin)
					})
				})
			}
		}
	})
}
