// Package worker runs the goroutines of a program. Those of a group begin and end together. Each has a name, which profiles and
// goroutine dumps show as the label "worker".
package worker

import (
	"context"
	"runtime/pprof"

	"golang.org/x/sync/errgroup"
)

// Group is goroutines that end when one of them fails, or when the context of the group ends.
type Group struct {
	ctx   context.Context
	group *errgroup.Group
}

// NewGroup returns a group, and the context that its workers get.
func NewGroup(ctx context.Context) (*Group, context.Context) {
	group, ctx := errgroup.WithContext(ctx)
	return &Group{ctx, group}, ctx
}

// Go starts a worker. It must return when its context ends.
func (g *Group) Go(name string, work func(context.Context) error) {
	g.group.Go(func() (err error) {
		pprof.Do(g.ctx, pprof.Labels("worker", name), func(ctx context.Context) { err = work(ctx) })
		return err
	})
}

// Wait waits until all workers have returned, and returns the first error of any.
func (g *Group) Wait() error { return g.group.Wait() }
