// Package tunnel moves packets between a TUN device and UDP, for a client and for a relay.
//
// Workers carry packets whose path is known: uplink from the TUN device to UDP, receive back. They look peers up without a
// lock, read the clock once for a batch and own their buffers. Whatever needs a decision goes through bounded queues to one
// control goroutine, which owns the rule machines of packages qualify and peer.
//
// The control goroutine never waits. What takes its time has an owner, a goroutine of its own: the flows that the kernel
// carries (kernelFlows), the address of the interface (ownAddress), the port mapping, and the service manager. The control
// goroutine tells an owner what it wants, through a slot or a bounded queue; the owner tells back what has come of it (call).
package tunnel

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
)

// rules decide about the packets that the workers don't carry by themselves. Only the control goroutine calls them.
type rules interface {
	outbound(now time.Time, packet []byte)
	inbound(now time.Time, from netip.AddrPort, via uint8, p *teredo.Packet)
	refresh(now time.Time, packet []byte)
	tick(now time.Time)
	// reconcile brings everything in line with what the last event has changed. It is called after each event.
	reconcile(now time.Time)
	deadline() (time.Time, bool)
}

// paths are what *peer.Client and *peer.Relay know about peers.
type paths interface {
	Table() *peer.Table
	Confirmed(now time.Time, local, peer netip.Addr) (to netip.AddrPort, heard time.Time, ok bool)
	Carried(now time.Time, peer netip.Addr, to netip.AddrPort, heard time.Time, sent, received peer.Traffic) bool
	Len() int
	Counts() Counts
	Budgets() Budgets
}

// tunnel is what client and relay have in common.
type tunnel struct {
	started time.Time
	devices []Device // queues of the TUN device
	sockets *sockets
	peers   paths
	table   *peer.Table
	drops   *drop.Counters // of the rules and of the kernel's path; workers have their own
	outlets outlets
	kernel  *kernelFlows

	queues  [lanes]queue
	wake    slot[struct{}]           // a question waits
	unasked atomic.Uint64            // packets of the local stack that found their queue full
	nonce   atomic.Uint64            // of the router solicitation that a client waits for the answer to; zero: none
	calls   chan func(now time.Time) // run by the control goroutine
	stopped chan struct{}            // closed when the control goroutine has ended
	leaving atomic.Bool              // StopReading was called
	readers sync.WaitGroup           // workers that read from the device, or from a socket

	// Of the control goroutine.
	workers  *worker.Group
	out      peer.Output
	messages []Message
	vias     []uint8 // of the messages
	packets  [][]byte
	back     turned
	turnBack func(now time.Time, packet []byte)      // of a relay: has the rules send a packet from one client to another one
	keeps    func(now time.Time, packet []byte) bool // of a client: takes a packet that is not for the local stack
}

// newTunnel makes a tunnel with workers for each of the devices, and for so many sockets of the service port.
func newTunnel(devices []Device, services int, s *sockets, p paths, kernel func() (Kernel, error), drops *drop.Counters) *tunnel {
	t := &tunnel{
		started: time.Now(), devices: devices, sockets: s, peers: p, table: p.Table(), drops: drops, kernel: newKernelFlows(kernel, drops),
		wake: newSlot[struct{}](), calls: make(chan func(time.Time)), stopped: make(chan struct{}),
	}
	for l := range lanes {
		room, _ := l.limits()
		t.queues[l].init(room)
	}
	t.outlets.init(t, services)
	return t
}

// job is what a worker does, under a name.
type job struct {
	name string
	do   func(context.Context) error
}

// run carries packets until ctx ends, and closes the sockets and the device. It calls ready when the kernel's path is open, or
// is not to be opened.
func (t *tunnel) run(ctx context.Context, r rules, ready func(), jobs ...job) error {
	t.workers, _ = worker.NewGroup(ctx)
	t.workers.Go("control", func(ctx context.Context) error {
		defer close(t.stopped)
		defer t.close()
		return t.control(ctx, r, t.handle)
	})
	t.readers.Add(len(t.outlets.uplinks))
	for _, o := range t.outlets.uplinks {
		t.workers.Go("uplink", o.uplink)
	}
	t.workers.Go("kernel path", func(ctx context.Context) error {
		return t.kernel.run(ctx, t.sockets.serving, ready, t.tellUsage)
	})
	for _, j := range jobs {
		t.workers.Go(j.name, j.do)
	}
	return t.workers.Wait()
}

func (t *tunnel) close() {
	t.sockets.closeAll()
	for _, d := range t.devices {
		d.Close()
	}
}
