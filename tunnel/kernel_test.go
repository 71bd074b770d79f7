package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/kernelpath"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// FakeKernel is a Kernel that carries nothing but what the test says, and remembers what it is asked for. It is exported for
// the tests of this package that need a simulated internet.
type FakeKernel struct {
	Introduce bool // what Add says

	mu     sync.Mutex
	flows  map[kernelpath.Flow]*fakeFlow
	calls  []KernelCall
	failed uint64
	refuse error
}

// fakeFlow is a flow that the kernel has.
type fakeFlow struct {
	remote netip.AddrPort
	kernelpath.Usage
}

// KernelCall is one call of a method that changes something.
type KernelCall struct {
	At     time.Time
	What   string // "add", "remove", "send", "close"
	Flow   kernelpath.Flow
	Remote netip.AddrPort // of an add
	Heard  time.Time      // of an add
	Packet []byte         // of a send
}

// fakeCapacity is how many flows a FakeKernel carries at most.
const fakeCapacity = 3 * mostSettled / 2

// NewFakeKernel makes a kernel without flows.
func NewFakeKernel() *FakeKernel {
	return &FakeKernel{flows: make(map[kernelpath.Flow]*fakeFlow)}
}

var errFlowUnknown = errors.New("there is no such flow")

// Add keeps what was counted so far, and the later time of reception on the same path, as the real one does.
func (k *FakeKernel) Add(f kernelpath.Flow, remote netip.AddrPort, heard time.Time) (introduce bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, KernelCall{At: time.Now(), What: "add", Flow: f, Remote: remote, Heard: heard})
	if k.refuse != nil {
		return false, k.refuse
	}
	flow := &fakeFlow{remote, kernelpath.Usage{Heard: heard, Open: !k.Introduce}}
	if was := k.flows[f]; was != nil {
		flow.Sent, flow.Received, flow.SentBytes, flow.ReceivedBytes = was.Sent, was.Received, was.SentBytes, was.ReceivedBytes
		if was.remote == remote && was.Heard.After(heard) {
			flow.Heard = was.Heard
		}
	}
	k.flows[f] = flow
	return k.Introduce, nil
}

func (k *FakeKernel) Shut(f kernelpath.Flow) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, KernelCall{At: time.Now(), What: "shut", Flow: f})
	if flow := k.flows[f]; flow != nil {
		flow.Open = false
		return nil
	}
	return errFlowUnknown
}

func (k *FakeKernel) Remove(f kernelpath.Flow) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, KernelCall{At: time.Now(), What: "remove", Flow: f})
	delete(k.flows, f)
	return nil
}

func (k *FakeKernel) Usage(f kernelpath.Flow) (kernelpath.Usage, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if flow := k.flows[f]; flow != nil {
		return flow.Usage, nil
	}
	return kernelpath.Usage{}, errFlowUnknown
}

func (k *FakeKernel) Failed() (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed, nil
}

func (*FakeKernel) Capacity() int { return fakeCapacity }

func (k *FakeKernel) Send(packet []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, KernelCall{At: time.Now(), What: "send", Packet: slices.Clone(packet)})
	return nil
}

func (k *FakeKernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, KernelCall{At: time.Now(), What: "close"})
	return nil
}

// Carry has the kernel carry packets of 100 bytes of a flow now.
func (k *FakeKernel) Carry(f kernelpath.Flow, sent, received uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	flow := k.flows[f]
	flow.Sent += sent
	flow.SentBytes += 100 * sent
	flow.ReceivedBytes += 100 * received
	if flow.Received += received; received > 0 {
		flow.Heard = time.Now()
	}
}

// LeaveBursts has the kernel leave bursts of TCP of a flow to the program from now on, or take them.
func (k *FakeKernel) LeaveBursts(f kernelpath.Flow, leave bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flows[f].NoBursts = leave
}

// Fail has the kernel drop packets.
func (k *FakeKernel) Fail(packets uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed += packets
}

// Refuse has Add fail from now on, or work again.
func (k *FakeKernel) Refuse(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = err
}

// Forget has a flow vanish from the kernel.
func (k *FakeKernel) Forget(f kernelpath.Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.flows, f)
}

// Flows is how many flows the kernel has.
func (k *FakeKernel) Flows() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.flows)
}

// Calls returns the calls of one kind that nobody has taken yet, and forgets all calls of that kind.
func (k *FakeKernel) Calls(what string) (calls []KernelCall) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = slices.DeleteFunc(k.calls, func(c KernelCall) bool {
		if c.What == what {
			calls = append(calls, c)
		}
		return c.What == what
	})
	return calls
}

// fakePaths confirms every path to where the test says.
type fakePaths struct {
	paths   // has nothing to tell of the list
	to      netip.AddrPort
	carried [2]peer.Traffic // sent and received
}

func (*fakePaths) Table() *peer.Table { return peer.NewClient(time.Now(), peer.Config{}).Table() }

func (p *fakePaths) Confirmed(now time.Time, _, _ netip.Addr) (netip.AddrPort, time.Time, bool) {
	return p.to, now, true
}

func (p *fakePaths) Carried(_ time.Time, _ netip.Addr, to netip.AddrPort, _ time.Time, sent, received peer.Traffic) bool {
	if to != p.to {
		return false
	}
	for i, t := range []peer.Traffic{sent, received} {
		p.carried[i].Packets += t.Packets
		p.carried[i].Bytes += t.Bytes
	}
	return true
}

// kernelRig is a tunnel with a fake kernel, whose paths are all confirmed. The test takes the place of the goroutines.
type kernelRig struct {
	*outlet
	fake  *FakeKernel
	paths *fakePaths
}

func newKernelRig() *kernelRig {
	r := &kernelRig{fake: NewFakeKernel(), paths: &fakePaths{to: netip.MustParseAddrPort("198.18.0.7:4000")}}
	r.outlet = newTunnel(nil, 1, newSockets(nil), r.paths, nil, new(drop.Counters)).outlets.control
	r.kernel.path = r.fake
	r.kernel.opened.Store(true)
	r.kernel.tell = func(usages []usage) bool {
		r.account(time.Time{}, usages)
		return true
	}
	return r
}

// offered has a flow handed over.
func (r *kernelRig) offered(now time.Time, f Flow) {
	r.handOver(now, f)
	r.kernel.carryOut(now, <-r.kernel.orders)
}

// numbered is one of many flows.
func numbered(n int) kernelpath.Flow {
	local, other := netip.MustParseAddr("2001:db8::").As16(), netip.MustParseAddr("2001:0:c612:1::").As16()
	binary.BigEndian.PutUint32(other[12:], uint32(n))
	return kernelpath.Flow{Local: netip.AddrFrom16(local), Peer: netip.AddrFrom16(other)}
}

// Each worker considers one packet in 10 ms, and offers its flow by nothing but the header. Once the kernel carries many flows it does so
// only if it has considered another packet of the same peer within 2 s.
func TestOffersThrottled(t *testing.T) {
	p := newKernelRig()
	p.kernel.count.Store(fewFlows)
	busy, rare := numbered(1), numbered(2)
	var uplink, receive, few offers // few: the kernel carries few flows then
	const begin = time.Hour
	for i, step := range []struct {
		worker *offers
		flow   kernelpath.Flow
		at     time.Duration
		want   bool
	}{
		{&uplink, busy, 0, false}, {&uplink, busy, 10*time.Millisecond - 1, false}, {&receive, busy, 10 * time.Millisecond, false},
		{&uplink, rare, 10 * time.Millisecond, false}, {&uplink, busy, 15 * time.Millisecond, false}, {&receive, busy, 15 * time.Millisecond, false},
		{&uplink, busy, 20 * time.Millisecond, true}, {&receive, busy, 20 * time.Millisecond, true}, {&uplink, busy, 25 * time.Millisecond, false},
		{&uplink, busy, 30 * time.Millisecond, true}, {&uplink, rare, 2*time.Second + 10*time.Millisecond, true},
		{&uplink, busy, 2*time.Second + 30*time.Millisecond + 1, false}, {&uplink, busy, 2*time.Second + 41*time.Millisecond, true},
		{&few, busy, 3 * time.Second, true}, {&few, rare, 3*time.Second + 10*time.Millisecond - 1, false}, {&few, rare, 3*time.Second + 10*time.Millisecond, true},
	} {
		if step.worker == &few {
			p.kernel.count.Store(fewFlows - 1)
		}
		packet := teredo.AppendEchoRequest(nil, step.flow.Local, step.flow.Peer, 1, 1, make([]byte, 1000))
		p.offer(step.worker, offerOutbound, packet, teredo.DestinationBytes(packet), peer.Stamp(begin+step.at))
		q := &p.queues[fromStack]
		if got := len(q.waiting) == 1; got != step.want {
			t.Errorf("step %d, at %v: offered: %v", i, step.at, got)
		}
		p.takeTurns(func(q *question) {
			if q.kind != offerOutbound || string(q.packet) != string(packet[:teredo.HeaderLen]) {
				t.Errorf("step %d: question %+v", i, q)
			}
		})
	}
}

// Peers that the worker cannot tell apart by where it notes them are not taken for each other.
func TestOffersOfOthers(t *testing.T) {
	var o offers
	a, b := numbered(1).Peer.As16(), numbered(1+len(o.noted)).Peer.As16()
	for i, address := range [][]byte{a[:], b[:], a[:], b[:]} {
		if o.seen(address, peer.Stamp(time.Second)) {
			t.Errorf("step %d: seen", i)
		}
	}
	if !o.seen(b[:], peer.Stamp(2*time.Second)) {
		t.Error("not seen again")
	}
}

// Nothing is offered when there is no kernel to carry it. An offer that finds the control goroutine busy is no loss.
func TestOffersInVain(t *testing.T) {
	p := newKernelRig()
	packet := teredo.AppendBubble(nil, numbered(1).Local, numbered(1).Peer, 64)
	q := &p.queues[fromStack]
	for range cap(q.free) {
		<-q.free
	}
	twice := func(p *tunnel) {
		o := new(offers)
		for _, at := range []time.Duration{time.Second, 2 * time.Second} {
			p.offer(o, offerInbound, packet, teredo.SourceBytes(packet), peer.Stamp(at))
		}
	}
	twice(p.tunnel)
	if n := p.drops.Get(drop.Overload); n != 0 || len(q.waiting) != 0 {
		t.Errorf("%d questions, %d dropped for overload", len(q.waiting), n)
	}
	p.askOutbound(packet, nil)
	if n := p.drops.Get(drop.Overload); n != 1 {
		t.Errorf("%d packets dropped for overload", n)
	}
	without := newTunnel(nil, 1, newSockets(nil), new(fakePaths), nil, new(drop.Counters))
	twice(without)
	if len(without.queues[fromStack].waiting) != 0 {
		t.Error("offered, though there is no kernel")
	}
}

// The kernel gets so many flows and no more, until one comes back. Those that it has stay up to date meanwhile.
func TestMostKernelFlows(t *testing.T) {
	p := newKernelRig()
	k := p.fake
	start := time.Now()
	for n := range fakeCapacity + 10 {
		p.offered(start, numbered(n))
	}
	if n := len(k.Calls("add")); n != fakeCapacity || k.Flows() != fakeCapacity || len(p.kernel.all) != fakeCapacity {
		t.Fatalf("%d added, %d there", n, k.Flows())
	}
	p.offered(start.Add(time.Second), numbered(0))
	p.offered(start.Add(time.Second), numbered(fakeCapacity))
	if calls := k.Calls("add"); len(calls) != 1 || calls[0].Flow != numbered(0) {
		t.Errorf("added again: %v", calls)
	}
	p.offered(start.Add(2*time.Second), numbered(fakeCapacity)) // takes the place of one that was not used
	added, removed := k.Calls("add"), k.Calls("remove")
	if len(added) != 1 || added[0].Flow != numbered(fakeCapacity) || len(removed) != 1 || k.Flows() != fakeCapacity {
		t.Fatalf("added %v, removed %v", added, removed)
	}
	p.kernel.takeBack(start, numbered(fakeCapacity), p.kernel.all[numbered(fakeCapacity)])
	p.kernel.flush()
	p.offered(start.Add(2*time.Second), removed[0].Flow)
	k.Calls("add")
	k.Calls("remove")
	k.Carry(numbered(0), 1, 0)
	for range 2 {
		p.kernel.round(start.Add(32 * time.Second))
	}
	if n := len(k.Calls("remove")); n != fakeCapacity-1 || k.Flows() != 1 {
		t.Errorf("%d came back, %d left", n, k.Flows())
	}
	p.offered(start.Add(32*time.Second), numbered(fakeCapacity))
	if calls := k.Calls("add"); len(calls) != 1 || calls[0].Flow != numbered(fakeCapacity) || k.Flows() != 2 {
		t.Errorf("added then: %v", calls)
	}
}

// When the kernel has very many flows, the rules are told of each in its turn, and lose none.
func TestRoundsTakeTurns(t *testing.T) {
	p := newKernelRig()
	start := time.Now()
	for n := range fakeCapacity {
		p.offered(start, numbered(n))
		p.fake.Carry(numbered(n), 1, 1)
	}
	for n, want := range []uint64{mostSettled, fakeCapacity, fakeCapacity} {
		p.kernel.round(start.Add(time.Duration(n+1) * kernelRound))
		if got := p.paths.carried[0].Packets; got != want {
			t.Errorf("after round %d the rules know of %d packets, want %d", n+1, got, want)
		}
	}
}

// A flow whose peer has another endpoint is added at once with that one. What the kernel has carried until then is counted once,
// and the other end is introduced to it anew.
func TestKernelFlowMoves(t *testing.T) {
	p := newKernelRig()
	k, paths := p.fake, p.paths
	k.Introduce = true
	start, f := time.Now(), numbered(1)
	p.offered(start, f)
	k.Carry(f, 100, 200)
	p.kernel.round(start.Add(time.Second))
	paths.to = netip.MustParseAddrPort("198.18.0.8:4000")
	p.offered(start.Add(time.Second+1), f)
	k.Carry(f, 1, 2)
	p.kernel.round(start.Add(2 * time.Second))
	if sent, received := p.sent.all.packets.Load(), p.received.all.packets.Load(); sent != 101 || received != 202 || paths.carried != [2]peer.Traffic{{Packets: 101, Bytes: 10100}, {Packets: 202, Bytes: 20200}} {
		t.Errorf("%d sent, %d received, the rules know of %v", sent, received, paths.carried)
	}
	if calls := k.Calls("add"); len(calls) != 2 || calls[1].Remote != paths.to {
		t.Errorf("added: %v", calls)
	}
	if n := len(k.Calls("send")); n != 2 {
		t.Errorf("%d bubbles", n)
	}
}

// What the kernel has carried since the last look counts when a flow goes back, for whatever reason.
func TestTakeBackCounts(t *testing.T) {
	for name, back := range map[string]func(p *kernelRig, now time.Time, paths *fakePaths){
		"the peer has moved": func(p *kernelRig, now time.Time, paths *fakePaths) {
			paths.to = netip.MustParseAddrPort("198.18.0.8:4000")
			p.offered(now, numbered(1))
		},
		"the network has changed": func(p *kernelRig, now time.Time, _ *fakePaths) { p.kernel.clear(now) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newKernelRig()
			k, paths := p.fake, p.paths
			start := time.Now()
			p.offered(start, numbered(1))
			k.Carry(numbered(1), 100, 200)
			back(p, start.Add(time.Millisecond), paths)
			p.kernel.round(start.Add(time.Second))
			if sent, received := p.sent.all.packets.Load(), p.received.all.packets.Load(); sent != 100 || received != 200 {
				t.Errorf("%d sent, %d received", sent, received)
			}
		})
	}
}

// A kernel that cannot add a flow with its new endpoint keeps it no longer than until the next look at it.
func TestKernelFlowMovesInVain(t *testing.T) {
	p := newKernelRig()
	k, paths := p.fake, p.paths
	start, f := time.Now(), numbered(1)
	p.offered(start, f)
	paths.to = netip.MustParseAddrPort("198.18.0.8:4000")
	k.Refuse(fmt.Errorf("no uplink to %v", paths.to))
	p.offered(start.Add(time.Millisecond), f)
	p.kernel.round(start.Add(time.Second))
	if k.Flows() != 0 || len(p.kernel.all) != 0 {
		t.Errorf("the kernel has %d flows", k.Flows())
	}
}

// A flow that the kernel has no more is the workers' again.
func TestKernelForgets(t *testing.T) {
	p := newKernelRig()
	k := p.fake
	start, f := time.Now(), numbered(1)
	p.offered(start, f)
	k.Forget(f)
	p.kernel.round(start.Add(time.Second))
	if len(p.kernel.all) != 0 {
		t.Error("it is still on the books")
	}
	p.offered(start.Add(time.Second), f)
	if k.Flows() != 1 {
		t.Error("it does not get it again")
	}
}
