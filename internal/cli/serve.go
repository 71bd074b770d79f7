package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"

	"github.com/teredo-suite/teredo/internal/control"
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
	questions := map[string]control.Question{"status": {Answer: s.State.answer}}
	maps.Copy(questions, s.Questions)
	report, err := p.report(questions["peers"])
	if err != nil {
		return err
	}
	questions["report"] = report
	var drains *drains
	if len(s.Announcers) > 0 {
		drains, ctx = newDrains(ctx, s.Log, s.Announcers)
		defer drains.leave(nil)
		heedDrainSignal(drains.asked)
		if questions["drain"], err = drains.question(); err != nil {
			return err
		}
	}
	socket, err := control.Listen(s.Flags.Control)
	if err != nil {
		return err
	}
	profiles, err := s.Flags.listenProfiles()
	if err != nil {
		socket.Close()
		return err
	}
	site, err := s.Flags.listenWeb(s.Log)
	if err != nil {
		socket.Close()
		if profiles != nil {
			profiles.Close()
		}
		return err
	}
	answering, quiet := context.WithCancel(context.WithoutCancel(ctx))
	defer quiet()
	told := ctx
	all, ctx := worker.NewGroup(ctx)
	defer context.AfterFunc(ctx, s.State.stops)()
	all.Go("control socket", func(context.Context) error { return control.Serve(answering, socket, questions) })
	all.Go("service", func(ctx context.Context) error {
		defer quiet()
		workers, _ := worker.NewGroup(ctx)
		workers.Go("service", s.Run)
		if drains != nil {
			workers.Go("announcements", drains.run)
		}
		if profiles != nil {
			workers.Go("profiles", func(ctx context.Context) error { return serveProfiles(ctx, profiles) })
		}
		if site != nil {
			workers.Go("web", func(ctx context.Context) error {
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
