package proxy

import "sync"

// spare is how many goroutines without work a crew keeps.
const spare = 32

// crew does work on goroutines whose stacks have grown already. Work that carries data needs a stack of several KiB, waiting for data
// a small one: so each connection waits on its own goroutine, and has the crew work when there is something to do.
type crew struct {
	work  chan func()
	free  chan struct{} // places of goroutines without work
	tasks sync.WaitGroup
}

func newCrew() *crew { return &crew{work: make(chan func()), free: make(chan struct{}, spare)} }

// do has work done, and does not wait for it.
func (c *crew) do(work func()) {
	select {
	case c.work <- work:
	default:
		c.tasks.Go(func() { c.run(work) })
	}
}

// run does work until there are enough others without any, or the crew is dismissed.
func (c *crew) run(work func()) {
	for ok := true; ok; {
		work()
		select {
		case c.free <- struct{}{}:
		default:
			return
		}
		work, ok = <-c.work
		<-c.free
	}
}

// dismiss waits until all work is done. No work may come any more.
func (c *crew) dismiss() {
	close(c.work)
	c.tasks.Wait()
}
