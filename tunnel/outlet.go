package tunnel

import (
	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/drop"
)

// outlet is where a goroutine sends and delivers packets, and where it counts them. Each worker has one, so that no two of them write to
// the same line of the cache.
type outlet struct {
	_ cpu.CacheLinePad
	*tunnel
	number         int      // of the worker, among those of its direction
	sent, received directed // carried to UDP and from it, without the headers of IPv4 and UDP
	drops          drop.Counters
	_              cpu.CacheLinePad
}

// outlets are those of a tunnel.
type outlets struct {
	all       []*outlet
	control   *outlet   // of the control goroutine, and of the readers of random ports
	uplinks   []*outlet // by queue of the TUN device
	receivers []*outlet // by socket of the service port
}

// init makes outlets for each device of a tunnel, and for so many sockets of the service port.
func (o *outlets) init(t *tunnel, services int) {
	add := func(number int) *outlet {
		o.all = append(o.all, &outlet{tunnel: t, number: number})
		return o.all[len(o.all)-1]
	}
	o.control = add(0)
	for number := range t.devices {
		o.uplinks = append(o.uplinks, add(number))
	}
	for number := range services {
		o.receivers = append(o.receivers, add(number))
	}
}

// device is the queue of the TUN device that the goroutine reads or writes.
func (t *outlet) device() Device { return t.devices[t.number%len(t.devices)] }

// dropped adds up the drops of all workers, of the rules and of the kernel's path, by reason.
func (t *tunnel) dropped() map[string]uint64 {
	all := []*drop.Counters{t.drops}
	for _, o := range t.outlets.all {
		all = append(all, &o.drops)
	}
	return drop.Sum(all...)
}
