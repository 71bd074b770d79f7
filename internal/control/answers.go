package control

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// pause is the time between two answers to a question, in which the program has time for its work.
const pause = 100 * time.Millisecond

// answers makes the answers to one question, one at a time. The next one is begun when everybody has got the last one, so
// there is never more than one in memory.
type answers struct {
	ctx  context.Context // ends with the socket
	ask  func(context.Context) (any, error)
	turn chan struct{} // holds one while an answer is made or sent

	mu     sync.Mutex
	next   *answer   // that has not been begun, nil while nobody waits for one
	ended  time.Time // when the last one was over; of whose turn it is
	making sync.WaitGroup
}

// answer is one that everybody gets who has asked before it was begun.
type answer struct {
	done    chan struct{} // closed when what follows is there
	body    []byte
	err     error
	waiting sync.WaitGroup // who has not got it yet
}

func newAnswers(ctx context.Context, ask func(context.Context) (any, error)) *answers {
	return &answers{ctx: ctx, ask: ask, turn: make(chan struct{}, 1)}
}

// wait waits until nothing is made any more. The context must have ended.
func (a *answers) wait() { a.making.Wait() }

// join returns the next answer. Its reader must say when it has got it.
func (a *answers) join() *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == nil {
		a.next = &answer{done: make(chan struct{})}
		next := a.next
		a.making.Go(func() { a.run(next) })
	}
	a.next.waiting.Add(1)
	return a.next
}

// run makes an answer when its turn comes.
func (a *answers) run(n *answer) {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	select {
	case <-time.After(time.Until(a.ended.Add(pause))):
	case <-a.ctx.Done():
	}
	a.mu.Lock()
	a.next = nil // who asks from now on is told of what happens from now on
	a.mu.Unlock()

	ctx, cancel := context.WithTimeout(a.ctx, answerTimeout)
	defer cancel()
	v, err := a.ask(ctx)
	if err == nil {
		n.body, err = json.Marshal(v)
	}
	n.err = err
	close(n.done)
	n.waiting.Wait()
	a.ended = time.Now()
}

// serve sends the next answer.
func (a *answers) serve(w http.ResponseWriter, r *http.Request) {
	n := a.join()
	defer n.waiting.Done()
	timeout := time.NewTimer(answerTimeout)
	defer timeout.Stop()
	select {
	case <-n.done:
	case <-timeout.C:
		http.Error(w, "the program is too busy to answer", http.StatusServiceUnavailable)
		return
	case <-r.Context().Done(): // it does not wait any more
		return
	}
	if n.err != nil {
		http.Error(w, n.err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(n.body)
}
