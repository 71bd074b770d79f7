package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

// Server is a Handler with its sockets: UDP port 3544 of one or two addresses and, where the system permits it, raw
// IPv6 for packets to native hosts.
type Server struct {
	cfg      Config
	handler  *Handler
	conns    []conn // by address: Primary, Secondary
	openRaw  func() (nativeSender, error)
	log      *slog.Logger
	started  time.Time
	native   atomic.Bool // raw IPv6 is open
	counters counters
	close    func() error
}

// conn is a batched UDP socket, see internal/udp.
type conn interface {
	ReadBatch(ms []udp.Message) (int, error)
	WriteBatch(ms []udp.Message) (int, error)
	Close() error
}

// nativeSender sends whole IPv6 packets, header included. It is not safe for concurrent use.
type nativeSender interface {
	Send(dst netip.Addr, ipv6 []byte) error
	Close() error
}

// New opens the UDP sockets. The errors are those of Config.Check, or say which address cannot be listened on.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	handler, err := NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	conns, err := listen(cfg, teredo.Port)
	if err != nil {
		return nil, err
	}
	return newServer(cfg, handler, conns, openRaw, log), nil
}

func newServer(cfg Config, h *Handler, conns []conn, openRaw func() (nativeSender, error), log *slog.Logger) *Server {
	s := &Server{cfg: cfg, handler: h, conns: conns, openRaw: openRaw, log: log, started: time.Now()}
	s.close = sync.OnceValue(func() error { return closeAll(conns) })
	return s
}

func listen(cfg Config, port uint16) ([]conn, error) {
	// Datagrams of different clients don't make bursts.
	options := udp.Options{GRO: offload.Off}
	primary, err := udp.Listen(netip.AddrPortFrom(cfg.Primary, port), options)
	if err != nil {
		return nil, fmt.Errorf("listen at the primary address: %w", err)
	}
	if !cfg.Secondary.IsValid() {
		return []conn{primary}, nil
	}
	secondary, err := udp.Listen(netip.AddrPortFrom(cfg.Secondary, port), options)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen at the secondary address: %w", err), primary.Close())
	}
	return []conn{primary, secondary}, nil
}

// Run serves until ctx is done or Close is called, and returns with everything closed. Trouble with single packets, in
// either direction, never ends it.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	natives := s.openNatives()
	var workers sync.WaitGroup
	for local := range s.conns {
		w := newWorker(s, local, natives[local])
		workers.Go(func() { w.run(ctx) })
	}
	workers.Wait()
	return errors.Join(s.Close(), closeAll(natives))
}

// SetSecrets replaces the secrets of Config. It may be called at any time; solicitations wait for nothing.
func (s *Server) SetSecrets(secrets *Secrets) { s.handler.SetSecrets(secrets) }

// Close ends Run and closes the UDP sockets. Calls after the first do nothing and return the same.
func (s *Server) Close() error { return s.close() }

// openNatives opens a raw socket for each worker. Without them the server still serves Teredo clients among each other.
func (s *Server) openNatives() []nativeSender {
	natives := make([]nativeSender, len(s.conns))
	for i := range natives {
		raw, err := s.openRaw()
		if err != nil {
			s.log.Warn("clients cannot test native IPv6 hosts through this server: "+
				"it needs IPv6 on this host and the capability CAP_NET_RAW", "error", err)
			closeAll(natives[:i])
			return slices.Repeat([]nativeSender{noNative{}}, len(natives))
		}
		natives[i] = raw
	}
	s.native.Store(true)
	return natives
}

// noNative stands in for the raw sockets that could not be opened.
type noNative struct{}

func (noNative) Send(netip.Addr, []byte) error { return errors.ErrUnsupported }
func (noNative) Close() error                  { return nil }

func closeAll[C interface{ Close() error }](closers []C) error {
	var errs []error
	for _, c := range closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
