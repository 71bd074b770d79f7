package web

import (
	"context"
	"time"
)

const (
	keep      = time.Second     // how long an answer is given to all who ask
	askAtMost = 5 * time.Second // how long a program may take to answer
)

// shared is an answer that is made once for all who ask within a second.
type shared[T any] struct {
	ask    func(context.Context) (T, error)
	turn   chan struct{} // holds one while somebody uses what follows
	latest T
	at     time.Time // when latest was asked for; zero: never
}

func share[T any](ask func(context.Context) (T, error)) *shared[T] {
	return &shared[T]{ask: ask, turn: make(chan struct{}, 1)}
}

// get returns the answer of this second.
func (s *shared[T]) get(ctx context.Context) (answer T, err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	now := time.Now()
	if !s.at.IsZero() && now.Sub(s.at) < keep {
		return s.latest, nil
	}
	// It is for others, too, so it goes on when this caller leaves.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askAtMost)
	defer cancel()
	if answer, err = s.ask(ctx); err == nil {
		s.latest, s.at = answer, now
	}
	return answer, err
}
