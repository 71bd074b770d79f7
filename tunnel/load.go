package tunnel

import (
	"context"
	"time"
)

// Load tells whether the relay has more to do than it can, and whether it has anything to do.
func (r *Relay) Load(ctx context.Context) (l Load, err error) {
	err = r.call(ctx, func(time.Time) { l.Budgets, l.Peers = r.peers.Refused() })
	carried, _ := r.Carried()
	l.Served = carried.SentPackets + carried.ReceivedPackets
	l.Processor = r.unasked.Load()
	return l, err
}
