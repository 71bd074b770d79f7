package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/server"
)

// program is the server with what it is told to do, and what the control socket tells of it.
type program struct {
	run     *run
	log     *slog.Logger
	cfg     server.Config
	state   *cli.State[status]
	running *server.Server
	started chan struct{} // closed when running is set
}

func start(ctx context.Context, p *cli.Process, r *run) error {
	s := &program{run: r, log: p.Logger(&r.RunFlags), cfg: r.config(), started: make(chan struct{})}
	var err error
	if s.cfg.Secrets, err = r.loadSecrets(s.log); err != nil {
		return cli.Usage(err)
	}
	if ctx, err = r.Sunset.Context(ctx, s.log); err != nil {
		return err
	}
	s.state = cli.NewState(
		status{State: "initial", Sunset: r.Sunset},
		func(s *status) (state, waitingFor *string) { return &s.State, &s.WaitingFor },
	)
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &r.RunFlags, Log: s.log, State: s.state, Run: s.serve,
		Reload: cli.Reload{Flags: []string{"secret-file"}, Files: s.reloadSecrets},
	})
}

// needs is what a server needs that has its sockets.
func (r *run) needs() (p confine.Policy) {
	if r.SecretFile != "" {
		p.Read = append(p.Read, r.SecretFile)
	}
	return p
}

// serve sets the server up and runs it.
func (s *program) serve(ctx context.Context) (err error) {
	s.state.WaitsFor("the addresses of this host")
	if s.cfg.Filter.Broadcasts, err = netcfg.Broadcasts(); err != nil {
		return err
	}
	if err := s.cfg.Check(); err != nil { // again, as it knows the broadcast addresses now
		return cli.Usage(err)
	}
	s.state.WaitsFor("its UDP ports")
	if s.running, err = server.New(s.cfg, s.log); err != nil {
		return err
	}
	confined := s.run.ConfineTo(s.run.needs(), s.log)
	close(s.started)
	s.state.Runs(func(context.Context) (status, error) {
		return status{State: "running", Sunset: s.run.Sunset, Status: s.running.Status(), Confined: confined}, nil
	})
	now := s.running.Status()
	s.log.Info("serving", slog.Any("bind", now.Bind), slog.Any("public", now.Public), slog.Any("prefix", now.Prefix))
	if !s.cfg.Secondary.IsValid() {
		s.log.Warn("clients cannot recognise a symmetric NAT: give a second IPv4 address with --bind2")
	}
	cli.Ready(fmt.Sprintf("Serving at %v", s.cfg.Primary))
	return s.running.Run(ctx)
}
