package neighbor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
)

const (
	// glance is how often the proxy looks whether clients have been found that somebody waits for.
	glance = 20 * time.Millisecond
	// downPause is how long it waits while the interface is down.
	downPause = time.Second
	// mostFrame is more than any neighbor solicitation with its options has.
	mostFrame = 1518
)

// Frames are read and written at the interface. *Socket is one.
type Frames interface {
	Read(frame []byte) (int, error)
	Write(frame []byte) (int, error)
	SetReadDeadline(t time.Time) error
	Close() error
}

// Runner is a Proxy at work.
type Runner struct {
	frames   Frames
	ifname   string
	drops    drop.Counters
	answered atomic.Uint64
	waiting  atomic.Int64

	mu    sync.Mutex
	proxy *Proxy
	look  time.Time // when the proxy looks again who has been found
}

// NewRunner makes a proxy at the interface that Run starts.
func NewRunner(frames Frames, ifname string, link Link, clients Clients) *Runner {
	r := &Runner{frames: frames, ifname: ifname}
	r.proxy = New(link, clients, &r.drops)
	return r
}

// SetLink tells that the link has changed.
func (r *Runner) SetLink(l Link) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.proxy.SetLink(l)
}

// Run answers solicitations until ctx ends, and closes the socket.
func (r *Runner) Run(ctx context.Context) error {
	defer r.frames.Close()
	defer context.AfterFunc(ctx, func() { r.frames.Close() })()
	frame := make([]byte, mostFrame)
	for {
		n, err := r.frames.Read(frame)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, syscall.ENETDOWN): // told once each time that the interface goes down
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(downPause):
			}
			continue
		default:
			return fmt.Errorf("read neighbor solicitations at %s: %w", r.ifname, err)
		}
		r.turn(frame[:n])
	}
}

// turn handles a frame, if there is one, and those who wait.
func (r *Runner) turn(frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(frame) > 0 {
		if answer := r.proxy.Solicit(frame, now); answer != nil {
			r.send(answer)
		}
	}
	if !now.Before(r.look) {
		r.proxy.Tick(now, r.send)
		r.look = now.Add(glance)
	}
	waiting := r.proxy.Waiting()
	r.waiting.Store(int64(waiting))
	var wake time.Time // never
	if waiting > 0 {
		wake = r.look
	}
	_ = r.frames.SetReadDeadline(wake) // fails only when the socket is closed, of which Read tells
}

func (r *Runner) send(frame []byte) {
	if _, err := r.frames.Write(frame); err != nil {
		r.drops.Count(drop.SendFailed)
		return
	}
	r.answered.Add(1)
}

// Status describes a proxy at work.
type Status struct {
	Interface string            `json:"interface"`
	Answered  uint64            `json:"answered"` // solicitations
	Waiting   int64             `json:"waiting"`  // of them, for a client that is looked for
	Drops     map[string]uint64 `json:"drops"`    // solicitations that were not answered
}

// Status describes the proxy now.
func (r *Runner) Status() Status {
	return Status{Interface: r.ifname, Answered: r.answered.Load(), Waiting: r.waiting.Load(), Drops: r.drops.Snapshot()}
}
