package tunnel

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/teredo-suite/teredo/internal/metrics"
)

// Metrics know each queue by its name. The status tells of those in which something waits.
func TestWaiting(t *testing.T) {
	q := newQueueRig()
	if got := q.waiting(); len(got) != 0 {
		t.Errorf("at first: %v", got)
	}
	want := make(map[string]int)
	var names []string
	for l := range lanes {
		names = append(names, l.String())
		for range int(l) + 1 {
			q.queues[l].put(inbound, netip.AddrPort{}, 0, nil, nil)
		}
		want[l.String()] = int(l) + 1
	}
	if got := q.waiting(); !maps.Equal(got, want) {
		t.Errorf("%v wait, want %v", got, want)
	}
	if !slices.Equal(names, metrics.Queues()) {
		t.Errorf("queues %v, in metrics %v", names, metrics.Queues())
	}
}
