package tunnel

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	kernelRound     = 2 * time.Second / 5   // how often the rules are told what the kernel has carried: sooner than half a second of silence makes them doubt
	mostSettled     = 4096                  // flows in one round: with more, the rules are told of each less often
	kernelAgain     = time.Second           // how often a flow is added anew
	kernelIdle      = 30 * time.Second      // a flow that was not used for so long goes back to the workers
	offerGap        = 10 * time.Millisecond // between the packets whose flows a worker considers
	offerWithin     = 2 * time.Second       // of many flows, one is offered when two of its packets in such a time were considered
	fewFlows        = 1024                  // while the kernel carries fewer, any flow is worth its room
	introductions   = 3                     // most bubbles that show the other end that a flow is open,
	introductionGap = 2 * time.Second       // and the time between them (RFC 4380 §5.2.6)
	mostOrders      = 256                   // that wait for the kernel
	mostUsages      = 128                   // that the control goroutine is told of in one event
)

// Kernel carries the packets of flows by itself. One goroutine calls it, and may have to wait.
type Kernel interface {
	// Add has the kernel carry a flow to an endpoint that was heard of last at a time. introduce asks for a bubble through Send.
	Add(f Flow, remote netip.AddrPort, heard time.Time) (introduce bool, err error)
	// Shut has the workers send the packets of a flow again, and goes on delivering those that come.
	Shut(f Flow) error
	Remove(f Flow) error
	Usage(f Flow) (Usage, error)
	Failed() (uint64, error) // packets that the kernel has dropped
	Capacity() int           // how many flows it carries at most
	Send(packet []byte) error
	Close() error
}

// kernelFlows owns the flows that the kernel carries. Its goroutine is the only one that calls the kernel. The control goroutine
// orders what the rules allow, and is told what the kernel has carried.
//
// An order may be lost, as the next packet of the flow or the next round repeats it. Taking all flows back is never lost: it
// begins an era, and orders of an earlier one count no more.
type kernelFlows struct {
	open    func() (Kernel, error) // nil: there is nothing to open
	opened  atomic.Bool            // flows may be offered
	orders  chan order
	recall  slot[struct{}] // a new era has begun
	era     atomic.Uint64
	cleared atomic.Uint64 // the latest era that has begun without flows

	count, bursts atomic.Int64 // flows that the kernel carries, and those of them whose bursts it leaves to the workers

	inherited []Flow                                // that the kernel has carried for the process before,
	confirm   func(context.Context, []Flow) []order // and what the rules say of them

	mu  sync.Mutex // held to change all, and by other goroutines to read it
	all map[Flow]*kernelFlow

	// Of the goroutine.
	path    Kernel
	turns   []*kernelFlow // whom the rules are told of next; some may have gone back meanwhile
	drops   *drop.Counters
	tell    func([]usage) bool // tells the control goroutine; false: the tunnel ends
	refused map[Flow]bool      // by the kernel, since the last round
	failed  uint64             // as counted so far
	usages  []usage            // that tell is to be called with
}

// order is for the kernel to carry a flow to an endpoint, or not to when that is the zero AddrPort. An order without a flow has all
// flows to the endpoint taken back.
type order struct {
	era    uint64
	flow   Flow
	remote netip.AddrPort
	heard  time.Time // of the endpoint
}

// usage is what the kernel has carried of a flow since the last usage.
type usage struct {
	flow           Flow
	remote         netip.AddrPort
	heard          time.Time
	sent, received peer.Traffic
	refused        bool // the answer of the rules: the kernel may not send on this path any more,
	doubted        bool // although it is still the flow's path
}

type kernelFlow struct {
	Flow
	remote     netip.AddrPort
	added      time.Time
	used       time.Time // about when the kernel carried something last
	quiet      bool      // it had carried nothing when it was last looked at
	usage      Usage
	bubbles    int // that introduced it
	introduced time.Time
}

func newKernelFlows(open func() (Kernel, error), drops *drop.Counters) *kernelFlows {
	return &kernelFlows{
		open: open, drops: drops, orders: make(chan order, mostOrders), recall: newSlot[struct{}](),
		all: make(map[Flow]*kernelFlow), refused: make(map[Flow]bool),
	}
}

// offers are what one worker offers. Most flows of a relay with very many clients have few packets. When the kernel carries many
// flows already, another one is worth its room if it has packets again and again. So the worker notes the peers of the packets that it considers.
type offers struct {
	next  peer.Stamp
	noted [64]struct {
		peer [16]byte
		at   peer.Stamp
	}
}

// seen notes the peer with an address, of 16 bytes, and reports whether it was noted a short time ago. The first time is never
// a short time ago: no worker carries packets when the table begins.
func (o *offers) seen(address []byte, now peer.Stamp) bool {
	n := &o.noted[address[15]%uint8(len(o.noted))]
	again := n.at != 0 && now-n.at <= peer.Stamp(offerWithin) && string(n.peer[:]) == string(address)
	copy(n.peer[:], address)
	n.at = now
	return again
}

// offer offers the flow of a packet that a worker has carried, whose peer has the address.
func (t *tunnel) offer(o *offers, kind questionKind, packet, address []byte, now peer.Stamp) {
	if !t.kernel.opened.Load() || now < o.next {
		return
	}
	o.next = now + peer.Stamp(offerGap)
	if o.seen(address, now) || t.kernel.count.Load() < fewFlows {
		t.tell(kind, packet[:teredo.HeaderLen], nil)
	}
}

// handOver orders the kernel to carry a flow if the rules agree.
func (t *tunnel) handOver(now time.Time, f Flow) {
	to, heard, _ := t.peers.Confirmed(now, f.Local, f.Peer)
	t.kernel.order(order{flow: f, remote: to, heard: heard})
}

// tellUsage tells the rules what the kernel has carried.
func (t *tunnel) tellUsage(ctx context.Context, usages []usage) bool {
	return t.call(ctx, func(now time.Time) { t.account(now, usages) }) == nil
}

func (t *tunnel) account(now time.Time, usages []usage) {
	for i := range usages {
		u := &usages[i]
		t.outlets.control.sent.countKernel(t.table, u.flow.Peer, u.sent)
		t.outlets.control.received.countKernel(t.table, u.flow.Peer, u.received)
		if u.refused = !t.peers.Carried(now, u.flow.Peer, u.remote, u.heard, u.sent, u.received); u.refused {
			to, _, _ := t.peers.Confirmed(now, u.flow.Local, u.flow.Peer)
			u.doubted = to == u.remote
		}
	}
}

// order gives an order to the goroutine, unless too many wait.
func (k *kernelFlows) order(o order) {
	o.era = k.era.Load()
	select {
	case k.orders <- o:
	default:
	}
}

// takeAllBack has the workers carry all flows again, until they offer them anew.
func (k *kernelFlows) takeAllBack() {
	if k.opened.Load() {
		k.era.Add(1)
		k.recall.put(struct{}{})
	}
}

// idle reports whether all flows have come back that takeAllBack was called for.
func (k *kernelFlows) idle() bool { return k.era.Load() == k.cleared.Load() }

// askedBy takes the flows back that lead to a relay which asks for a bubble through the server: it may have restarted, and its
// kernel does not know them then. Over virtual links it would get packets whose checksum is not filled in (CHECKSUM_PARTIAL)
// until a flow has been silent for long.
func (k *kernelFlows) askedBy(bubble *teredo.Packet) {
	if k.opened.Load() && teredo.IsBubble(bubble.IPv6) && bubble.Origin.IsValid() {
		k.order(order{remote: bubble.Origin})
	}
}

// run opens the kernel's path when the service port is open, and then carries out what is ordered until ctx ends. Opening takes
// longer than everything else at the start, so the workers carry packets meanwhile.
func (k *kernelFlows) run(ctx context.Context, serving <-chan struct{}, ready func(), tell func(context.Context, []usage) bool) (err error) {
	select {
	case <-serving:
	case <-ctx.Done():
		return nil
	}
	if k.open != nil {
		if k.path, err = k.open(); err != nil {
			return err
		}
	}
	if k.path == nil {
		ready()
		return nil
	}
	defer k.path.Close()
	k.tell = func(usages []usage) bool { return tell(ctx, usages) }
	k.inherit(ctx)
	ready()
	k.opened.Store(true)
	rounds := time.NewTicker(kernelRound)
	defer rounds.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.recall:
			k.clear(time.Now())
		case o := <-k.orders:
			k.carryOut(time.Now(), o)
		case <-rounds.C:
			k.round(time.Now())
		}
		k.count.Store(int64(len(k.all)))
	}
}

// carryOut carries out an order.
func (k *kernelFlows) carryOut(now time.Time, o order) {
	switch {
	case o.era != k.era.Load():
	case o.flow == Flow{}:
		for f, flow := range k.all {
			if flow.remote == o.remote {
				k.takeBack(now, f, flow)
			}
		}
	default:
		k.add(now, o.flow, o.remote, o.heard)
	}
	k.flush()
}

// add has the kernel carry a flow, or brings one up to date that it carries already.
func (k *kernelFlows) add(now time.Time, f Flow, to netip.AddrPort, heard time.Time) {
	flow := k.all[f]
	if flow != nil && flow.remote != to {
		k.takeBack(now, f, flow)
		flow = nil
	}
	switch {
	case !to.IsValid() || k.refused[f] || flow == nil && !k.hasRoom(now):
		return
	case flow == nil:
		flow = &kernelFlow{Flow: f, remote: to, used: now, quiet: true}
	case now.Sub(flow.added) < kernelAgain:
		return
	}
	introduce, err := k.path.Add(f, to, heard)
	if err != nil {
		k.refused[f] = true // there is no uplink that the kernel can use
		return
	}
	flow.added = now
	if k.all[f] == nil {
		k.turns = append(k.turns, flow)
	}
	k.mu.Lock()
	k.all[f] = flow
	k.mu.Unlock()
	if introduce && flow.bubbles < introductions && now.Sub(flow.introduced) >= introductionGap {
		flow.bubbles++
		flow.introduced = now
		// If it is lost, the workers carry on.
		_ = k.path.Send(teredo.AppendBubble(nil, f.Local, f.Peer, peer.BubbleHopLimit))
	}
}

// hasRoom reports whether the kernel can have one more flow. If it has as many as it may, one of a sample that has not been used
// for 2 s goes back.
func (k *kernelFlows) hasRoom(now time.Time) bool {
	const sample = 16
	if len(k.all) < k.path.Capacity() {
		return true
	}
	seen := 0
	for f, flow := range k.all { // begins anywhere
		if flow.quiet && now.Sub(flow.used) >= 2*kernelAgain {
			k.takeBack(now, f, flow)
			return true
		}
		if seen++; seen == sample {
			break
		}
	}
	return false
}

// round tells the rules what the kernel has carried, and takes flows back that are idle or whose path the rules have given up.
// Of very many flows some have their turn. It ends early when all flows are to come back.
func (k *kernelFlows) round(now time.Time) {
	clear(k.refused)
	for range min(len(k.turns), mostSettled) {
		flow := k.turns[0]
		k.turns = k.turns[1:]
		if k.all[flow.Flow] != flow {
			continue
		}
		if !k.settle(now, flow.Flow, flow) || len(k.recall) > 0 {
			return
		}
		if now.Sub(flow.used) >= kernelIdle {
			k.release(flow.Flow)
		} else {
			k.turns = append(k.turns, flow)
		}
	}
	k.flush()
	if failed, err := k.path.Failed(); err == nil {
		k.drops.Add(drop.KernelPath, failed-k.failed)
		k.failed = failed
	}
}

// clear takes all flows back. What the kernel has carried of them until now counts.
func (k *kernelFlows) clear(now time.Time) {
	era := k.era.Load()
	clear(k.refused)
	for f, flow := range k.all {
		if !k.settle(now, f, flow) {
			return
		}
		k.release(f)
	}
	k.flush()
	k.cleared.Store(era)
	k.tell(nil) // the control goroutine waits for it
}

// takeBack has the workers carry a flow again. What the kernel has carried until now counts.
func (k *kernelFlows) takeBack(now time.Time, f Flow, flow *kernelFlow) {
	k.settle(now, f, flow)
	k.release(f)
}

// settle notes what the kernel has carried of a flow, for the rules, and releases a flow that the kernel does not know any more.
// Once enough is noted it tells the rules. It reports false when the tunnel ends.
func (k *kernelFlows) settle(now time.Time, f Flow, flow *kernelFlow) bool {
	u, err := k.path.Usage(f)
	if err != nil {
		k.release(f)
		return true
	}
	was := flow.usage
	flow.usage = u
	k.leaves(was.NoBursts, u.NoBursts)
	next := usage{
		flow: f, remote: flow.remote, heard: u.Heard,
		sent:     peer.Traffic{Packets: u.Sent - was.Sent, Bytes: u.SentBytes - was.SentBytes},
		received: peer.Traffic{Packets: u.Received - was.Received, Bytes: u.ReceivedBytes - was.ReceivedBytes},
	}
	if flow.quiet = next.sent.Packets+next.received.Packets == 0; !flow.quiet {
		flow.used = now
	}
	if u.Open {
		flow.bubbles = 0 // should it close, it can open again
	}
	k.usages = append(k.usages, next)
	return len(k.usages) < mostUsages || k.flush()
}

// leaves keeps count of the flows whose bursts the kernel leaves to the workers.
func (k *kernelFlows) leaves(was, is bool) {
	switch {
	case is && !was:
		k.bursts.Add(1)
	case was && !is:
		k.bursts.Add(-1)
	}
}

// flush tells the rules what is noted, and takes back the flows that they refuse. If the path of a flow is only in doubt, the kernel still
// delivers what comes: over a virtual link the other end's kernel may have sent packets that the workers could not use. It reports
// false when the tunnel ends.
func (k *kernelFlows) flush() bool {
	if len(k.usages) == 0 {
		return true
	}
	goOn := k.tell(k.usages)
	for _, u := range k.usages {
		flow := k.all[u.flow]
		if !u.refused || flow == nil || flow.remote != u.remote { // it may go on, or has moved meanwhile
			continue
		}
		if !u.doubted || k.path.Shut(u.flow) != nil {
			k.release(u.flow)
		}
	}
	k.usages = k.usages[:0]
	return goOn
}

// release has the workers carry a flow again that is settled.
func (k *kernelFlows) release(f Flow) {
	flow := k.all[f]
	if flow == nil {
		return
	}
	k.leaves(flow.usage.NoBursts, false)
	// It fails only when the flow is not there.
	_ = k.path.Remove(f)
	k.mu.Lock()
	delete(k.all, f)
	k.mu.Unlock()
}
