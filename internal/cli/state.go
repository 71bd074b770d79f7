package cli

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// promptly is how long a program may take to tell its status. After that the answer is what it told last.
const promptly = time.Second

// State answers requests for the status of a program at once, whatever the program is doing: setting itself up, running,
// being too busy to tell, or stopping.
type State[T any] struct {
	phase func(status *T) (state, waitingFor *string)

	mu     sync.Mutex
	latest T
	at     time.Time                        // when latest was true
	ask    func(context.Context) (T, error) // nil: latest is all there is to tell
}

// NewState returns the state of a program that sets itself up. Phase tells where a status says in which state the program
// is, and what it waits for.
func NewState[T any](first T, phase func(status *T) (state, waitingFor *string)) *State[T] {
	return &State[T]{phase: phase, latest: first, at: time.Now()}
}

// WaitsFor says what takes its time now.
func (s *State[T]) WaitsFor(what string) {
	s.Change(func(status *T) {
		_, waitingFor := s.phase(status)
		*waitingFor = what
	})
}

// Change changes what is told while the program cannot be asked.
func (s *State[T]) Change(f func(status *T)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.latest)
	s.at = time.Now()
}

// Runs has the program asked from now on. Ask must heed its context.
func (s *State[T]) Runs(ask func(context.Context) (T, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ask = ask
}

// runs reports whether the program is set up, and does not stop yet.
func (s *State[T]) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ask != nil
}

// stops says that the program stops.
func (s *State[T]) stops() {
	s.Change(func(status *T) {
		s.ask = nil
		state, waitingFor := s.phase(status)
		*state, *waitingFor = "stopping", ""
	})
}

// answer is the status now, or what is known of it.
func (s *State[T]) answer(ctx context.Context) (any, error) {
	status, _ := s.tell(ctx)
	return status, nil
}

// tell is the status now, or what is known of it when the program does not answer in time.
func (s *State[T]) tell(ctx context.Context) (status T, answered bool) {
	s.mu.Lock()
	ask := s.ask
	s.mu.Unlock()
	if ask == nil {
		return s.known(), true
	}
	ctx, cancel := context.WithTimeout(ctx, promptly)
	defer cancel()
	status, err := ask(ctx)
	if err != nil {
		return s.known(), false
	}
	s.learn(status)
	return status, true
}

// ready reports whether a program with this status does what it is for.
func (s *State[T]) ready(status T) bool {
	if a, is := any(status).(interface{ Invites() bool }); is && !a.Invites() {
		return false
	}
	state, _ := s.phase(&status)
	return *state == "running" || *state == "qualified"
}

// learn notes what the program has told.
func (s *State[T]) learn(status T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ask != nil { // it has not begun to stop meanwhile
		s.latest, s.at = status, time.Now()
	}
}

// known is the latest status, which says so when the program has been asked in vain.
func (s *State[T]) known() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.latest
	if s.ask != nil {
		_, waitingFor := s.phase(&status)
		*waitingFor = fmt.Sprintf("the program itself, which is too busy to tell more; this was so %v ago", duration(time.Since(s.at)))
	}
	return status
}
