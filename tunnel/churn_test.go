package tunnel

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// A relay has more clients than the kernel can carry flows. At first idle flows have all places. Half of the packets are those of a few
// busy flows, and each of the others is of another client. The busy flows get in within seconds and stay, and no other flow gets in.
func TestBusyFlowsGetIn(t *testing.T) {
	const (
		busy    = 10
		start   = 5 * time.Second // when the idle flows may be taken back
		settled = start + 10*time.Second
		end     = settled + 10*time.Second
	)
	p := newKernelRig()
	begin := time.Now()
	for n := range fakeCapacity {
		p.offered(begin, numbered(n))
	}
	p.fake.Calls("add")
	var worker offers
	random := rand.New(rand.NewPCG(1, 1))
	firstOther := fakeCapacity + busy
	next := firstOther
	for since := start; since < end; since += time.Millisecond {
		now := begin.Add(since)
		if since%kernelRound == 0 {
			p.kernel.round(now)
		}
		isBusy := random.IntN(2) == 0
		f := numbered(fakeCapacity + random.IntN(busy))
		if !isBusy {
			f = numbered(next)
			next++
		}
		if p.kernel.all[f] != nil {
			p.fake.Carry(f, 1, 0)
			continue
		}
		if isBusy && since >= settled {
			t.Fatalf("after %v a packet of a busy flow comes to a worker", since)
		}
		p.kernel.count.Store(int64(len(p.kernel.all)))
		packet := teredo.AppendBubble(nil, f.Local, f.Peer, 64)
		p.offer(&worker, offerOutbound, packet, teredo.DestinationBytes(packet), peer.Stamp(since))
		p.takeTurns(func(*question) { p.offered(now, f) })
	}
	for _, call := range p.fake.Calls("add") {
		if call.Flow.Peer.Compare(numbered(firstOther).Peer) >= 0 {
			t.Errorf("a flow of one packet got in: %v", call.Flow)
		}
	}
}
