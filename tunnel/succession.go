package tunnel

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

const (
	bucketsAtOnce = 1 << 13
	recordsAtOnce = 1 << 16 // bytes, about
)

// Legacy is what a tunnel leaves to one in another process that takes its device and its sockets over.
type Legacy struct {
	Records iter.Seq[[]byte] // of peers; nil: none
	Flows   []Flow           // that the kernel carries
}

// Legacy is what another process needs to go on where this tunnel is. The tunnel goes on meanwhile.
func (t *tunnel) Legacy() Legacy {
	return Legacy{Records: t.records, Flows: t.kernel.flows()}
}

// StopReading has the workers end when they have carried what they have read, and waits until they have. Devices and Conns must be those of
// this module on Linux. Another process reads what comes from then on, and this one has to end soon.
func (t *tunnel) StopReading() error {
	t.leaving.Store(true)
	var ends []any
	for _, d := range t.devices {
		ends = append(ends, d)
	}
	for _, c := range t.sockets.all() {
		ends = append(ends, c)
	}
	for _, e := range ends {
		reader, ok := e.(interface{ StopReading() error })
		if !ok {
			return errors.ErrUnsupported
		}
		if err := reader.StopReading(); err != nil {
			return err
		}
	}
	t.readers.Wait()
	return nil
}

// records yields records of the peers, many at a time.
func (t *tunnel) records(yield func([]byte) bool) {
	var some []byte
	for next, more := 0, true; more; more = next != 0 {
		some, next = t.table.AppendRecords(some, next, bucketsAtOnce, time.Now())
		if len(some) >= recordsAtOnce || next == 0 {
			if !yield(some) {
				return
			}
			some = some[:0]
		}
	}
}

// flows are those that the kernel carries.
func (k *kernelFlows) flows() (all []Flow) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for f := range k.all {
		all = append(all, f)
	}
	return all
}

// restore takes over the peers and the flows of another process, before any worker runs.
func (t *tunnel) restore(l Legacy, peers interface {
	Restore(now time.Time, records []byte) int
}) (restored int) {
	t.kernel.inherited, t.kernel.confirm = l.Flows, t.confirm
	if l.Records == nil {
		return 0
	}
	for records := range l.Records {
		restored += peers.Restore(time.Now(), records)
	}
	return restored
}

// inherit has the kernel carry the flows that it has carried for the process before, if the rules agree.
func (k *kernelFlows) inherit(ctx context.Context) {
	flows := k.inherited
	k.inherited = nil
	for some := range slices.Chunk(flows, mostUsages) {
		for _, o := range k.confirm(ctx, some) {
			k.add(time.Now(), o.flow, o.remote, o.heard)
		}
	}
	k.count.Store(int64(len(k.all)))
}

// confirm looks up the paths of flows.
func (t *tunnel) confirm(ctx context.Context, flows []Flow) (orders []order) {
	// It fails only when the tunnel ends.
	_ = t.call(ctx, func(now time.Time) {
		for _, f := range flows {
			if to, heard, ok := t.peers.Confirmed(now, f.Local, f.Peer); ok {
				orders = append(orders, order{flow: f, remote: to, heard: heard})
			}
		}
	})
	return orders
}
