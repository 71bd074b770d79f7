package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/teredo"
)

// Possible reports whether a client can have a native address: one of a native prefix, with a mapping that is global.
func (r *Relay) Possible(native netip.Addr) bool {
	client, ok := r.cfg.Natives.Teredo(native)
	filter := teredo.Filter{Permit: *r.permit.Load()}
	mapped := teredo.Mapped(client)
	return ok && mapped.Port() != 0 && filter.Global(mapped.Addr())
}

// Live reports whether the relay has a path to the client with a native address. It does not wait.
func (r *Relay) Live(native netip.Addr) bool {
	client, ok := r.cfg.Natives.Teredo(native)
	return ok && r.table.Live(client, r.table.Stamp(time.Now()))
}

// Seek looks for the client with a native address, because of the native host asker. It reports whether a search is under way: the
// relay's budgets may forbid it.
func (r *Relay) Seek(native, asker netip.Addr) (seeks bool) {
	client, ok := r.cfg.Natives.Teredo(native)
	if !ok {
		return false
	}
	err := r.call(context.Background(), func(now time.Time) { seeks = r.peers.Seek(now, client, asker, &r.out) })
	return err == nil && seeks
}
