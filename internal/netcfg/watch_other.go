//go:build !linux

package netcfg

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// watchPause is how often the interfaces are looked at.
	watchPause = 3 * time.Second
	// clockJump is how much later than the pause allows it is when the host has slept, or the clock was set.
	clockJump = 10 * time.Second
)

// Watch tells of changes of the host's interfaces and their addresses, and of jumps of its clock, from now until ctx ends, which
// closes the channel. What happens at the interface own is told as such, and as nothing else.
func Watch(ctx context.Context, own string) (<-chan Change, error) {
	before, err := look()
	if err != nil {
		return nil, fmt.Errorf("watch the interfaces: %w", err)
	}
	changes := make(chan Change)
	go func() {
		defer close(changes)
		tick := time.NewTicker(watchPause)
		defer tick.Stop()
		for last := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := time.Now()
			late := now.Round(0).Sub(last.Round(0)) - watchPause // by the clock on the wall
			last = now
			c := Change{Resumed: late.Abs() > clockJump}
			if after, err := look(); err == nil {
				c = c.with(difference(before, after, own))
				before = after
			}
			if c == (Change{}) {
				continue
			}
			select {
			case changes <- c:
			case <-ctx.Done():
			}
		}
	}()
	return changes, nil
}

// difference is what has changed from one look to the next.
func difference(before, after map[string]seen, own string) (c Change) {
	for _, pair := range [][2]map[string]seen{{before, after}, {after, before}} {
		for name, is := range pair[0] {
			was, there := pair[1][name]
			links := !there || is.up != was.up
			addresses := !slices.Equal(is.addresses, was.addresses)
			if name == own {
				c.Own = c.Own || links || addresses
				continue
			}
			c = c.with(Change{Links: links, Addresses: addresses})
		}
	}
	return c
}
