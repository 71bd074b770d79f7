package tunnel

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	mostKernelFlows = 8192
	kernelRound     = time.Second           // how often the rules are told what the kernel has carried, and a flow is added anew
	kernelIdle      = 30 * time.Second      // a flow that was not used for so long goes back to the workers
	offerGap        = 10 * time.Millisecond // between the flows that a worker offers
	introductions   = 3                     // most bubbles that show the other end that a flow is open,
	introductionGap = 2 * time.Second       // and the time between them (RFC 4380 §5.2.6)
)

// Kernel carries the packets of flows by itself. *kernelpath.Path does; tests have another.
type Kernel interface {
	Add(f kernelpath.Flow, remote netip.AddrPort, heard time.Time) (introduce bool, err error)
	Remove(f kernelpath.Flow) error
	Usage(f kernelpath.Flow) (kernelpath.Usage, error)
	Failed() (uint64, error)
	Send(packet []byte) error
	Close() error
}

// kernelFlows are the flows that the kernel carries. Workers offer what they carry themselves. The control goroutine hands a
// flow over when the rules agree, and keeps the list of peers up to date with what the kernel has carried.
type kernelFlows struct {
	open    func() (Kernel, error) // nil: there is nothing to open
	path    Kernel                 // nil: the workers carry everything
	opened  atomic.Bool            // path is not nil: for workers
	peers   paths
	all     map[kernelpath.Flow]*kernelFlow
	refused map[kernelpath.Flow]bool // by the kernel, since the last round
	failed  uint64                   // as counted so far
}

// paths are what *peer.Client and *peer.Relay know about peers.
type paths interface {
	Confirmed(now time.Time, local, peer netip.Addr) (to netip.AddrPort, heard time.Time, ok bool)
	Carried(now time.Time, peer netip.Addr, to netip.AddrPort, heard time.Time, sent, received peer.Traffic) bool
}

// withoutBursts is how many flows the kernel carries except for bursts of TCP.
func (k *kernelFlows) withoutBursts() (n int) {
	for _, flow := range k.all {
		if flow.usage.NoBursts {
			n++
		}
	}
	return n
}

type kernelFlow struct {
	remote     netip.AddrPort
	added      time.Time
	used       time.Time // about when the kernel carried something last
	usage      kernelpath.Usage
	bubbles    int // that introduced it
	introduced time.Time
}

// openKernel opens the kernel's path. That takes longer than everything else at the start, so the workers carry packets meanwhile.
func (p *pump) openKernel(ctx context.Context) error {
	path, err := p.kernel.open()
	if path == nil || err != nil {
		return err
	}
	if p.call(ctx, func(time.Time) { p.kernel.path = path; p.kernel.opened.Store(true) }) != nil {
		return path.Close() // it has stopped
	}
	return nil
}

// offers are what one worker offers.
type offers struct{ next peer.Stamp }

// offer offers the flow of a packet that a worker has carried.
func (p *pump) offer(o *offers, kind questionKind, packet []byte, now peer.Stamp) {
	if !p.kernel.opened.Load() || now < o.next {
		return
	}
	o.next = now + peer.Stamp(offerGap)
	p.tell(kind, packet[:teredo.HeaderLen])
}

// handOver gives a flow to the kernel if the rules agree.
func (p *pump) handOver(now time.Time, f kernelpath.Flow) {
	to, heard, ok := p.kernel.peers.Confirmed(now, f.Local, f.Peer)
	flow := p.kernel.all[f]
	if flow != nil && flow.remote != to {
		p.takeBack(now, f)
		flow = nil
	}
	switch {
	case !ok || p.kernel.refused[f] || flow == nil && !p.roomInKernel(now):
		return
	case flow == nil:
		flow = &kernelFlow{remote: to, used: now}
	case now.Sub(flow.added) < kernelRound:
		return
	}
	introduce, err := p.kernel.path.Add(f, to, heard)
	if err != nil {
		p.kernel.refused[f] = true // there is no uplink that the kernel can use
		return
	}
	flow.added = now
	p.kernel.all[f] = flow
	if introduce && flow.bubbles < introductions && now.Sub(flow.introduced) >= introductionGap {
		flow.bubbles++
		flow.introduced = now
		// If it is lost, the workers carry on.
		_ = p.kernel.path.Send(teredo.AppendBubble(nil, f.Local, f.Peer, peer.BubbleHopLimit))
	}
}

// roomInKernel reports whether the kernel can have one more flow. If it has as many as it may, one of a sample that has not
// been used for two rounds goes back.
func (p *pump) roomInKernel(now time.Time) bool {
	const sample = 16
	if len(p.kernel.all) < mostKernelFlows {
		return true
	}
	seen := 0
	for f, flow := range p.kernel.all { // begins anywhere
		if now.Sub(flow.used) >= 2*kernelRound {
			p.takeBack(now, f)
			return true
		}
		if seen++; seen == sample {
			break
		}
	}
	return false
}

// account tells the rules what the kernel has carried, and takes flows back that are idle or have no path any more.
func (p *pump) account(now time.Time) {
	if p.kernel.path == nil {
		return
	}
	clear(p.kernel.refused)
	for f, flow := range p.kernel.all {
		if !p.settle(now, f, flow) || now.Sub(flow.used) >= kernelIdle {
			p.release(f)
		}
	}
	if failed, err := p.kernel.path.Failed(); err == nil {
		p.drops.Add(drop.KernelPath, failed-p.kernel.failed)
		p.kernel.failed = failed
	}
}

// settle tells the rules what the kernel has carried of a flow. It reports whether the flow is there and has its path still.
func (p *pump) settle(now time.Time, f kernelpath.Flow, flow *kernelFlow) bool {
	usage, err := p.kernel.path.Usage(f)
	if err != nil {
		return false
	}
	sent := peer.Traffic{Packets: usage.Sent - flow.usage.Sent, Bytes: usage.SentBytes - flow.usage.SentBytes}
	received := peer.Traffic{Packets: usage.Received - flow.usage.Received, Bytes: usage.ReceivedBytes - flow.usage.ReceivedBytes}
	flow.usage = usage
	p.sent.Add(sent.Packets)
	p.sentBytes.Add(sent.Bytes)
	p.received.Add(received.Packets)
	p.receivedBytes.Add(received.Bytes)
	p.sentBy.countKernel(f.Peer, sent)
	p.receivedBy.countKernel(f.Peer, received)
	if sent.Packets+received.Packets > 0 {
		flow.used = now
	}
	if usage.Open {
		flow.bubbles = 0 // should it close, it can open again
	}
	return p.kernel.peers.Carried(now, f.Peer, flow.remote, usage.Heard, sent, received)
}

// takeBack has the workers carry a flow again. What the kernel has carried until now counts.
func (p *pump) takeBack(now time.Time, f kernelpath.Flow) {
	p.settle(now, f, p.kernel.all[f])
	p.release(f)
}

// release has the workers carry a flow again that is settled.
func (p *pump) release(f kernelpath.Flow) {
	// It fails only when the flow is not there.
	_ = p.kernel.path.Remove(f)
	delete(p.kernel.all, f)
}

// askedBy takes the flows back that lead to a relay which asks for a bubble through the server: it has restarted, perhaps, and its
// kernel does not know them. Over virtual links, what ours leaves unfinished would reach it so until a flow is silent for long.
func (p *pump) askedBy(now time.Time, bubble *teredo.Packet) {
	if !teredo.IsBubble(bubble.IPv6) || !bubble.Origin.IsValid() {
		return
	}
	for f, flow := range p.kernel.all {
		if flow.remote == bubble.Origin {
			p.takeBack(now, f)
		}
	}
}

// takeAllBack has the workers carry all flows, until they offer them again.
func (p *pump) takeAllBack(now time.Time) {
	clear(p.kernel.refused)
	for f := range p.kernel.all {
		p.takeBack(now, f)
	}
}
