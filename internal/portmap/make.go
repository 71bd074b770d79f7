package portmap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// make makes a mapping with the most preferred protocol that succeeds. It looks for all protocols at once, and first removes
// what earlier runs have left at this gateway.
func (k *Keeper) make(ctx context.Context, g gateway) (service, Mapping, error) {
	ctx, cancel := context.WithTimeout(ctx, k.timeouts.attempt)
	searches, wait := k.search(ctx, g)
	defer wait()
	defer cancel()
	k.removeStale(ctx, g, searches)
	var reasons failure
	for _, s := range searches {
		by, err := s.result()
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			var m Mapping
			if m, err = k.add(ctx, by); err == nil {
				return by, m, nil
			}
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", s.protocol.name, err))
	}
	return nil, Mapping{}, reasons
}

// failure is why no protocol has made a mapping: a reason for each, in their order.
type failure []error

func (f failure) Error() string   { return strings.ReplaceAll(errors.Join(f...).Error(), "\n", "; ") }
func (f failure) Unwrap() []error { return f }

// search finds out whether the gateway speaks a protocol.
type search struct {
	protocol protocol
	done     chan struct{} // closed when the answer is there
	service  service
	err      error
}

// search looks for every protocol. The function that it returns waits for all searches to end.
func (k *Keeper) search(ctx context.Context, g gateway) (searches []*search, wait func()) {
	var running sync.WaitGroup
	for _, p := range k.protocols {
		s := &search{protocol: p, done: make(chan struct{})}
		searches = append(searches, s)
		running.Go(func() {
			defer close(s.done)
			ctx, cancel := context.WithTimeout(ctx, k.timeouts.search)
			defer cancel()
			s.service, s.err = p.find(ctx, g)
		})
	}
	return searches, running.Wait
}

// result waits for the answer.
func (s *search) result() (service, error) {
	<-s.done
	return s.service, s.err
}

// removeStale removes the mappings of other ports that this program has made at this gateway, if the gateway still speaks their
// protocols (RFC 6081 §5.3.3).
func (k *Keeper) removeStale(ctx context.Context, g gateway, searches []*search) {
	for _, r := range slices.Clone(k.journal.records) {
		if r.Gateway != g.addr || ctx.Err() != nil {
			continue
		}
		for _, s := range searches {
			if s.protocol.name != r.Protocol {
				continue
			}
			if by, err := s.result(); err == nil && by.record().sameService(r) && by.record() != r {
				k.remove(ctx, by, r)
			}
		}
	}
}

// add makes a mapping. It writes the record first, so that the mapping is known whenever this program is killed.
func (k *Keeper) add(ctx context.Context, by service) (Mapping, error) {
	r := by.record()
	k.check(k.journal.add(r))
	m, err := by.add(ctx)
	switch {
	case err == nil:
	case errors.As(err, new(refusal)):
		k.check(k.journal.drop(r))
	default: // the gateway may have made it, or may still do
		k.remove(context.WithoutCancel(ctx), by, r)
	}
	return m, err
}

// remove removes a mapping. If the gateway does not answer in time, the record stays for the next run.
func (k *Keeper) remove(ctx context.Context, by service, r record) {
	ctx, cancel := context.WithTimeout(ctx, k.timeouts.remove)
	defer cancel()
	if err := by.remove(ctx, r); err != nil {
		k.log.Warn("cannot remove a port mapping, the next start tries again",
			"protocol", r.Protocol, "internal", r.Internal, "gateway", r.Gateway, "error", err)
		return
	}
	k.log.Debug("port mapping removed", "protocol", r.Protocol, "internal", r.Internal, "gateway", r.Gateway)
	k.check(k.journal.drop(r))
}

// check logs that the journal cannot be written. It is needed only after a crash.
func (k *Keeper) check(err error) {
	if err != nil {
		k.log.Warn("cannot save the port mapping; it would stay after a crash", "error", err)
	}
}
