package cli

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// serviceStatus is the status of a program that runs for long.
type serviceStatus struct {
	State      string `json:"state"`
	WaitingFor string `json:"waiting_for"`
	Peers      int    `json:"peers"`
}

func newServiceState() *State[serviceStatus] {
	return NewState(serviceStatus{State: "initial"}, func(s *serviceStatus) (state, waitingFor *string) {
		return &s.State, &s.WaitingFor
	})
}

// The status comes at once in every state: within a second, even from a program that does not answer any more.
func TestStateAnswersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServiceState()
		want := func(what string, want serviceStatus) {
			t.Helper()
			asked := time.Now()
			got, err := s.answer(t.Context())
			if err != nil || got != want {
				t.Errorf("%s: %+v, %v; want %+v", what, got, err, want)
			}
			if took := time.Since(asked); took > time.Second {
				t.Errorf("%s: the answer took %v", what, took)
			}
		}
		const initial, running, stopping = "initial", "running", "stopping"
		want("at first", serviceStatus{State: initial})
		s.WaitsFor("the interface teredo")
		want("while it sets itself up", serviceStatus{State: initial, WaitingFor: "the interface teredo"})

		busy := make(chan struct{}) // closed: it is not
		s.Runs(func(ctx context.Context) (serviceStatus, error) {
			select {
			case <-busy:
				return serviceStatus{State: running, Peers: 7}, nil
			case <-ctx.Done():
				return serviceStatus{}, ctx.Err()
			}
		})
		const asItWas = "the program itself, which is too busy to tell more; this was so "
		want("busy from the start", serviceStatus{State: initial, WaitingFor: asItWas + "1s ago"})
		close(busy)
		want("while it runs", serviceStatus{State: running, Peers: 7})
		busy = make(chan struct{})
		time.Sleep(time.Minute)
		want("when it hangs", serviceStatus{State: running, Peers: 7, WaitingFor: asItWas + "1m1s ago"})

		s.stops()
		want("while it stops", serviceStatus{State: stopping, Peers: 7})
	})
}

// An answer that comes when the program has begun to stop, or none, does not take that back.
func TestStateStopsMeanwhile(t *testing.T) {
	for name, err := range map[string]error{"an answer": nil, "none": context.Canceled} {
		s := newServiceState()
		s.Runs(func(context.Context) (serviceStatus, error) {
			s.stops()
			return serviceStatus{State: "running"}, err
		})
		if _, err := s.answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := s.answer(t.Context()); err != nil || got != (serviceStatus{State: "stopping"}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
