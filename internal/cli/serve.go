package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"

	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/worker"
)

// Service is a program that runs until it is told to stop.
type Service[T any] struct {
	Flags *RunFlags
	Role  string // that the metrics name, such as proxy; empty: the program's name without teredo-
	Log   *slog.Logger
	State *State[T] // is what requests for the status are answered with
	// Questions are what else can be asked for on the control socket.
	Questions map[string]control.Question
	Reload    Reload
	// Give gives what the program has to a new process that replaces it, while the program goes on. It is called while the program runs
	// and does not drain. Once the new process does the work, leave is called: it ends what the program has begun to do, and nothing else, as the process ends then. Give may be nil.
	Give func(*succession.Giver) (leave func() error, err error)
	// Announcers announce what the program serves, and withdraw it before the program ends by a drain. Without any it cannot drain.
	Announcers []*Announcer
	// Run sets the program up, and works until ctx ends.
	Run func(ctx context.Context) error
}

// Serve runs the service. The control socket answers, and SIGHUP is heeded, from the first moment until Run has returned.
func Serve[T any](ctx context.Context, p *Process, s Service[T]) error {
	if p.logFault != nil {
		return Usage(fmt.Errorf("write the log: %w; choose another file with --log-file", p.logFault))
	}
	if p.Inherited(); p.heir != nil && p.heir.fault != nil {
		return p.heir.fault
	}
	questions := map[string]control.Question{"status": {Answer: s.State.answer}}
	maps.Copy(questions, s.Questions)
	report, err := p.report(questions["peers"])
	if err != nil {
		return err
	}
	questions["report"] = report
	for _, a := range s.Announcers {
		a.inherit(p.Inherited())
	}
	var drains *drains
	if len(s.Announcers) > 0 {
		drains, ctx = newDrains(ctx, s.Log, s.Announcers)
		defer drains.leave(nil)
		heedDrainSignal(drains.asked)
		if questions["drain"], err = drains.question(); err != nil {
			return err
		}
	}
	socket, err := p.Inherited().Listener(controlSocket + s.Flags.Control)
	if socket == nil && err == nil {
		socket, err = control.Listen(s.Flags.Control)
	}
	if err != nil {
		return err
	}
	profiles, err := s.Flags.listenProfiles(p.Inherited())
	if err != nil {
		socket.Close()
		return err
	}
	site, err := s.Flags.listenWeb(p.Inherited(), s.Log)
	if err != nil {
		socket.Close()
		if profiles != nil {
			profiles.Close()
		}
		return err
	}
	if s.Give != nil {
		if questions[upgrades], err = p.upgrade(s.Log, func(g *succession.Giver) (func() error, error) {
			if err := s.mayGive(); err != nil {
				return nil, err
			}
			for _, a := range s.Announcers {
				a.giveTo(g)
			}
			giveListener(g, controlSocket+s.Flags.Control, socket)
			s.Flags.giveProfiles(g, profiles)
			s.Flags.giveWeb(g, site)
			return s.Give(g)
		}); err != nil {
			return err
		}
	}
	answering, quiet := context.WithCancel(context.WithoutCancel(ctx))
	defer quiet()
	told := ctx
	all, ctx := worker.NewGroup(ctx)
	defer context.AfterFunc(ctx, s.State.stops)()
	all.Go("control socket", func(ctx context.Context) error {
		if err := p.succeeded(ctx); err != nil {
			return errors.Join(err, socket.Close())
		}
		if s, ok := socket.(*net.UnixListener); ok {
			s.SetUnlinkOnClose(true) // an inherited one does not by itself
		}
		return control.Serve(answering, socket, questions)
	})
	all.Go("service", func(ctx context.Context) error {
		defer quiet()
		workers, _ := worker.NewGroup(ctx)
		workers.Go("service", s.Run)
		if drains != nil {
			workers.Go("announcements", drains.run)
		}
		if profiles != nil {
			workers.Go("profiles", func(ctx context.Context) error {
				if err := p.succeeded(ctx); err != nil {
					return errors.Join(err, profiles.Close())
				}
				return serveProfiles(ctx, profiles)
			})
		}
		if site != nil {
			workers.Go("web", func(ctx context.Context) error {
				if err := p.succeeded(ctx); err != nil {
					return errors.Join(err, site.Close())
				}
				return serveWeb(ctx, site, cmp.Or(s.Role, strings.TrimPrefix(p.name(), "teredo-")), s.State, questions, p.latest.since)
			})
		}
		workers.Go("SIGHUP", func(ctx context.Context) error {
			p.follow(ctx, s.Flags, s.Log, s.Reload)
			if told.Err() != nil {
				s.Log.Info("stopping", "reason", context.Cause(told))
			}
			return nil
		})
		return workers.Wait()
	})
	return all.Wait()
}

// mayGive says why a new process cannot take the place of this one now.
func (s *Service[T]) mayGive() error {
	if !s.State.runs() {
		return errors.New("the running program is not set up, or stops: try again when 'status' says that it runs")
	}
	for _, a := range s.Announcers {
		if a.Status().WithdrawnReason == announce.Draining {
			return errors.New("the running program drains: start the new one when it has stopped")
		}
	}
	return nil
}
