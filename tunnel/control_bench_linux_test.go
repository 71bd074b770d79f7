package tunnel

import (
	"context"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/worker"
	"github.com/teredo-suite/teredo/teredo"
)

// slowKernel takes its time for each call.
type slowKernel struct {
	*FakeKernel
	takes time.Duration
}

func (k *slowKernel) Add(f Flow, remote netip.AddrPort, heard time.Time) (bool, error) {
	time.Sleep(k.takes)
	return k.FakeKernel.Add(f, remote, heard)
}

func (k *slowKernel) Remove(f Flow) error {
	time.Sleep(k.takes)
	return k.FakeKernel.Remove(f)
}

func (k *slowKernel) Usage(f Flow) (Usage, error) {
	time.Sleep(k.takes)
	return k.FakeKernel.Usage(f)
}

// connect has a relay and a client exchange what confirms a path. It returns the flow between a native host and the client, and the
// client's mapping.
func connect(b testing.TB, r *Relay, number int) (f Flow, mapped netip.AddrPort) {
	b.Helper()
	now, native := time.Now(), netip.MustParseAddr("2001:db8::1")
	mapped = netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(number >> 8), byte(number)}), 4000)
	f = Flow{Local: native, Peer: teredo.Address{Server: netip.MustParseAddr("198.19.0.1"), Mapped: mapped}.Addr()}
	r.outbound(now, teredo.AppendEchoRequest(nil, f.Local, f.Peer, 1, 1, nil))
	sent := r.out.UDP.Datagrams()
	if len(sent) != 1 {
		b.Fatalf("the relay sends %d datagrams to client %d, %v", len(sent), number, r.drops.Snapshot())
	}
	var answer teredo.Packet
	if err := answer.Parse(teredo.AppendBubble(nil, f.Peer, teredo.Source(sent[0].Payload), 255)); err != nil {
		b.Fatal(err)
	}
	r.out.Reset()
	r.inbound(now, mapped, 0, &answer)
	r.out.Reset()
	return f, mapped
}

// threadTime is the processor time that the thread has had.
func threadTime() time.Duration {
	var t unix.Timespec
	// It has no way to fail.
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}

// The longest time that the control goroutine is in one event, while the kernel carries as many flows as it may and takes 5 ms
// for each call: questions, offers of flows, news of what the kernel has carried, and a change of the network. The wall time counts
// what other programs take of the processor, too; the processor time does not count waiting, which TestNobodyWaitsForTheKernel
// excludes.
func BenchmarkControlLoop(b *testing.B) {
	kernel := &slowKernel{FakeKernel: NewFakeKernel()}
	dev := &fakeDevice{closed: make(chan struct{})}
	r := NewRelay(RelayConfig{
		Devices: []Device{dev}, Conns: []Conn{newFakePort(3545)}, Capacity: 1 << 14, Kernel: func() (Kernel, error) { return kernel, nil },
		PermitIPv4: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15")},
	})
	r.kernel.path = kernel
	flows := make([]Flow, fakeCapacity)
	for i := range flows {
		flows[i], _ = connect(b, r, i)
		r.handOver(time.Now(), flows[i])
		r.kernel.carryOut(time.Now(), <-r.kernel.orders)
	}
	if n := kernel.Flows(); n != len(flows) {
		b.Fatalf("the kernel carries %d flows", n)
	}
	kernel.takes = 5 * time.Millisecond

	var longest, processor time.Duration
	var told atomic.Int64
	workers, ctx := worker.NewGroup(b.Context())
	ctx, stop := context.WithCancel(ctx)
	workers.Go("control", func(context.Context) error {
		runtime.LockOSThread()
		return r.control(ctx, r, func(_ rules, e event) {
			start, began := time.Now(), threadTime()
			r.handle(r, e)
			longest, processor = max(longest, time.Since(start)), max(processor, threadTime()-began)
		})
	})
	workers.Go("kernel path", func(context.Context) error {
		return r.kernel.run(ctx, r.sockets.serving, func() {}, func(ctx context.Context, usages []usage) bool {
			told.Add(int64(len(usages)))
			return r.tellUsage(ctx, usages)
		})
	})
	ask := func() {
		if _, err := r.Status(ctx); err != nil {
			b.Error(err)
		}
	}
	number := 0
	for b.Loop() {
		ask()
		f := flows[number%len(flows)]
		r.tell(offerOutbound, teredo.AppendBubble(nil, f.Local, f.Peer, 64), nil)
		number++
	}
	for told.Load() < mostUsages { // a round has begun
		ask()
	}
	if err := r.NetworkChanged(ctx, RelayNetwork{}); err != nil {
		b.Error(err)
	}
	ask()
	stop()
	if err := workers.Wait(); err != nil {
		b.Error(err)
	}
	b.ReportMetric(longest.Seconds()*1000, "longest-wall-ms")
	b.ReportMetric(processor.Seconds()*1000, "longest-processor-ms")
}
