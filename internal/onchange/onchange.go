// Package onchange runs a command each time that the addresses of the client change.
//
// A client that is set up confines itself: it cannot start programs, nor see their files. So it starts a second process before, the
// runner, which can do no more than to run this one command with addresses in its environment. Whoever takes the client over
// can run nothing else.
package onchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// Limit is how long the command may take. Then it is killed, with what it has started.
const Limit = 30 * time.Second

// Event is what the command is told.
type Event struct {
	State         State      `json:"state"`
	Address       netip.Addr `json:"address"`        // Teredo address; zero: none
	NativeAddress netip.Addr `json:"native_address"` // zero: none, or not known
}

// State of the client, for the command.
type State string

// States.
const (
	Qualified State = "qualified" // it has an address
	Offline   State = "offline"   // it has none
	Stopped   State = "stopped"   // it has none, and ends
)

// environment is the event as the command sees it.
func (e Event) environment() []string {
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	return []string{
		"TEREDO_STATE=" + string(e.State), "TEREDO_ADDRESS=" + text(e.Address), "TEREDO_NATIVE_ADDRESS=" + text(e.NativeAddress),
	}
}

// Hook hands events to the runner.
type Hook struct {
	log    *slog.Logger
	events io.WriteCloser // read by the runner
	ended  io.ReadCloser  // ends when the runner does
	wake   chan struct{}

	mu     sync.Mutex
	latest Event
}

// Start starts the runner: this program itself with the arguments given, which has it call Serve. It must be called before the
// program confines itself. The command also gets to know the name of the client's interface.
func Start(log *slog.Logger, ifname string, args ...string) (*Hook, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.Command(self, args...)
	cmd.Stderr = os.Stderr
	// systemd hears of the client alone. Ctrl-C is for the client, which tells the runner.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "NOTIFY_SOCKET=") })
	cmd.Env = append(cmd.Env, "TEREDO_INTERFACE="+ifname)
	cmd.SysProcAttr = ownGroup()
	h := &Hook{log: log, wake: make(chan struct{}, 1)}
	if h.events, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if h.ended, err = cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the process that runs the command: %w", err)
	}
	// A confined program may not wait for a process. The end of its output tells as much.
	return h, cmd.Process.Release()
}

// Tell has the command run with the event. It does not wait. Of events that come while the command runs only the latest counts.
func (h *Hook) Tell(e Event) {
	h.mu.Lock()
	h.latest = e
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run hands events over until ctx ends. Then it tells that the client has stopped, and waits until the command has been run.
func (h *Hook) Run(ctx context.Context) {
	defer h.ended.Close()
	to := json.NewEncoder(h.events)
	for running := true; running; {
		select {
		case <-ctx.Done():
			running = false
			h.Tell(Event{State: Stopped})
		case <-h.wake:
		}
		if err := to.Encode(h.now()); err != nil {
			h.log.Error("the command is not run any more, as its process has ended", "error", err)
			break
		}
	}
	h.events.Close()
	_, _ = io.Copy(io.Discard, h.ended) // until the runner ends
}

func (h *Hook) now() Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.latest
}

// Serve is the runner: it runs the command with each event that it reads, one at a time, and returns after the last one. An event that
// is the same as the one before is left out. A command that takes longer than limit is killed, with what it has started.
func Serve(events io.Reader, command string, limit time.Duration, log *slog.Logger) error {
	latest := make(chan Event, 1)
	var failure error
	go func() {
		defer close(latest)
		from := json.NewDecoder(events)
		for {
			var e Event
			if err := from.Decode(&e); err != nil {
				if !errors.Is(err, io.EOF) {
					failure = fmt.Errorf("read what has changed: %w", err)
				}
				return
			}
			select {
			case <-latest: // too old now
			default:
			}
			latest <- e
		}
	}()
	var last Event
	for e := range latest {
		if e == last {
			continue
		}
		last = e
		if err := run(command, limit, e); err != nil {
			log.Warn("the command has failed", "command", command, "state", e.State, "address", e.Address, "error", err)
		}
	}
	return failure
}

// run runs the command once.
func run(command string, limit time.Duration, e Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := shell(ctx, command)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), e.environment()...)
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("it took longer than %v", limit)
	}
	return err
}
