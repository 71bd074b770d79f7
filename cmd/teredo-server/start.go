package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/teredo-suite/teredo/cmd/internal/relay"
	"github.com/teredo-suite/teredo/internal/announce"
	"github.com/teredo-suite/teredo/internal/cli"
	"github.com/teredo-suite/teredo/internal/confine"
	"github.com/teredo-suite/teredo/internal/control"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/internal/server"
	"github.com/teredo-suite/teredo/internal/succession"
	"github.com/teredo-suite/teredo/internal/worker"
)

// program is the server with what it is told to do, and what the control socket tells of it.
type program struct {
	run      *run
	process  *cli.Process
	log      *slog.Logger
	cfg      server.Config
	state    *cli.State[status]
	confined cli.Confinement
	relay    *relay.Relay // nil: there is none
	running  *server.Server
	kernel   bool          // it answers beside the program
	started  chan struct{} // closed when all is set up

	announcer *cli.Announcer
	anycast   *anycast // nil: without --announce
}

func start(ctx context.Context, p *cli.Process, r *run) error {
	s := &program{run: r, process: p, log: p.Logger(&r.RunFlags), cfg: r.config(), started: make(chan struct{})}
	s.cfg.Workers, s.cfg.Sockets = p.Processors(), p.Inherited().UDP
	var err error
	if s.cfg.Secrets, err = r.loadSecrets(s.log); err != nil {
		return cli.Usage(err)
	}
	if ctx, err = r.Sunset.Context(ctx, s.log); err != nil {
		return err
	}
	s.state = cli.NewState(
		status{State: "initial", Sunset: r.Sunset, Announcement: announce.Unannounced()},
		func(s *status) (state, waitingFor *string) { return &s.State, &s.WaitingFor },
	)
	var questions map[string]control.Question
	if r.Relay {
		if s.relay, err = s.newRelay(); err != nil {
			return cli.Usage(err)
		}
		if questions, err = r.Peers(s.relay.Peers); err != nil {
			return err
		}
	}
	return cli.Serve(ctx, p, cli.Service[status]{
		Flags: &r.RunFlags, Log: s.log, State: s.state, Run: s.serve, Questions: questions, Announcers: s.announcers(), Give: s.give,
		Reload: cli.Reload{Flags: []string{"secret-file", "permit-ipv4"}, Take: s.reload},
	})
}

// newRelay makes the relay beside the server.
func (s *program) newRelay() (*relay.Relay, error) {
	r := s.run
	natives, err := r.natives()
	return &relay.Relay{
		Flags: r.Flags, KernelFlags: r.KernelFlags, Bind: r.Bind.Addr, Port: r.RelayPort, Natives: natives, PermitIPv4: r.PermitIPv4,
		Mark: r.StateFile("forwarding"), Log: s.log, Inherited: s.process.Inherited(), Processors: s.process.Processors(), TakeOver: s.process.TakeOver,
		WaitsFor: s.state.WaitsFor, Confine: s.confine, Runs: s.runs, Ready: func(netip.AddrPort) {
			s.announcer.Ready()
			s.ready("Serving and relaying")
		},
	}, err
}

// confine has the program give up what server and relay do not need, the relay what it needs.
func (s *program) confine(needs confine.Policy) {
	needs.BPF = needs.BPF || s.kernel
	if s.run.SecretFile != "" {
		needs.Read = append(needs.Read, s.run.SecretFile)
	}
	s.confined.To(needs, &s.run.RunFlags, s.log)
}

// serve sets the server and its relay up and runs them.
func (s *program) serve(ctx context.Context) (err error) {
	s.state.WaitsFor("the addresses of this host")
	if s.cfg.Filter.Broadcasts, err = netcfg.Broadcasts(); err != nil {
		return err
	}
	if err := s.cfg.Check(); err != nil { // again, as it knows the broadcast addresses now
		return cli.Usage(err)
	}
	if s.anycast != nil {
		s.state.WaitsFor("the interfaces of its addresses")
		defer s.anycast.close()
		if err := s.anycast.keep(); err != nil {
			return err
		}
	}
	s.state.WaitsFor("its UDP ports")
	if s.running, err = server.New(s.cfg, s.log); err != nil {
		return err
	}
	if err := s.openKernel(); err != nil {
		return errors.Join(err, s.running.Close())
	}
	now := s.running.Status()
	s.log.Info("serving", slog.Any("bind", now.Bind), slog.Any("public", now.Public), slog.Any("prefix", now.Prefix))
	if !s.cfg.Secondary.IsValid() {
		s.log.Warn("clients cannot recognise a symmetric NAT: give a second IPv4 address with --bind2")
	}
	workers, _ := worker.NewGroup(ctx)
	workers.Go("server", s.running.Run)
	if s.relay != nil {
		workers.Go("relay", s.relay.Run)
	} else if s.process.TakeOver() {
		s.announcer.Ready() // before it cannot change addresses any more
		s.confine(confine.Policy{})
		s.runs()
		s.ready("Serving")
	}
	return workers.Wait()
}

// runs has the control socket tell what server and relay are doing, now that they are set up.
func (s *program) runs() {
	close(s.started)
	s.state.Runs(s.status)
}

// ready tells the service manager that the program is set up, and what it is doing.
func (s *program) ready(doing string) { cli.Ready(fmt.Sprintf("%s at %v", doing, s.cfg.Primary)) }

// status describes the server, and the relay beside it.
func (s *program) status(ctx context.Context) (now status, err error) {
	if s.relay != nil {
		now.Relay, err = s.relay.Status(ctx)
	}
	now.State, now.Sunset, now.Status, now.Confined = "running", s.run.Sunset, s.running.Status(), s.confined.String()
	if now.Announcement = s.announcer.Status(); now.WithdrawnReason == announce.Draining {
		now.State = string(announce.Draining)
	}
	return now, err
}

// give gives a new process what it needs to go on where server and relay are, see cli.Service. The server itself knows nothing of
// its clients.
func (s *program) give(g *succession.Giver) (leave func() error, err error) {
	s.running.ShareSockets(g.UDP)
	s.anycast.give(g)
	if s.relay != nil {
		return s.relay.Give(g)
	}
	return func() error { return nil }, nil
}
