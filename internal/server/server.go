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

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/offload"
	"github.com/teredo-suite/teredo/internal/udp"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	sourcesAtOnce = 1 << 16 // IPv4 addresses that have budgets of their own, in 1 MiB
	burst         = 5       // seconds of a budget that may be used at once
)

// Server is a Handler with its sockets: UDP port 3544 of one or two addresses and, where the system permits it, raw
// IPv6 for packets to native hosts.
type Server struct {
	cfg      Config
	handler  *Handler
	groups   [][]conn       // for each worker: its sockets by address, Primary and Secondary
	natives  []nativeSender // for each socket
	openRaw  func() (nativeSender, error)
	log      *slog.Logger
	started  time.Time
	sources  *budget.Keyed // what is sent because of one IPv4 address; nil: there is no bound
	native   atomic.Bool   // raw IPv6 is open
	kernel   Kernel        // nil: the program answers everything
	counters []counters    // of each socket's worker
	close    func() error
}

// Sockets returns the sockets that are bound to an address and port, none if there are none.
type Sockets func(local netip.AddrPort, o udp.Options) ([]*udp.Conn, error)

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

// New opens the sockets, so that Run needs no privilege. The error is a *ConfigError or a *udp.ListenError.
func New(cfg Config, log *slog.Logger) (*Server, error) {
	handler, err := NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	groups, err := listen(cfg, teredo.Port, max(cfg.Workers, 1))
	if err != nil {
		return nil, err
	}
	s := newServer(cfg, handler, groups, openRaw, log)
	s.openNatives()
	return s, nil
}

func newServer(cfg Config, h *Handler, groups [][]conn, openRaw func() (nativeSender, error), log *slog.Logger) *Server {
	s := &Server{cfg: cfg, handler: h, groups: groups, openRaw: openRaw, log: log, started: time.Now()}
	s.counters = make([]counters, len(slices.Concat(groups...)))
	if rate, sources, _ := s.Budget(); rate.PerSecond > 0 {
		s.sources = budget.NewKeyed(sources, rate)
	}
	s.close = sync.OnceValue(func() error { return closeAll(slices.Concat(groups...)) })
	return s
}

// listen opens size groups of sockets, over which the kernel spreads the clients.
func listen(cfg Config, port uint16, size int) (groups [][]conn, err error) {
	// Datagrams of different clients cannot be coalesced.
	options := udp.Options{GRO: offload.Off}
	for _, a := range []struct {
		name string
		addr netip.Addr
	}{{"primary", cfg.Primary}, {"secondary", cfg.Secondary}} {
		if !a.addr.IsValid() {
			continue
		}
		group, err := cfg.sockets(netip.AddrPortFrom(a.addr, port), size, options)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen at the %s address: %w", a.name, err), closeAll(slices.Concat(groups...)))
		}
		if groups == nil {
			size = len(group)
			groups = make([][]conn, size)
		}
		if len(group) != size {
			return nil, errors.Join(fmt.Errorf("the %s address has %d sockets and the other one %d: stop the server, and start it anew", a.name, len(group), size),
				closeAll(group), closeAll(slices.Concat(groups...)))
		}
		for i, c := range group {
			groups[i] = append(groups[i], c)
		}
	}
	return groups, nil
}

// sockets takes over the sockets at an address, or opens as many as size says.
func (c *Config) sockets(local netip.AddrPort, size int, o udp.Options) ([]*udp.Conn, error) {
	if c.Sockets != nil {
		if group, err := c.Sockets(local, o); err != nil || len(group) > 0 {
			return group, err
		}
	}
	return udp.ListenGroup(local, size, o)
}

// ShareSockets calls give with the sockets of each address, for a process that takes them over.
func (s *Server) ShareSockets(give func(...*udp.Conn)) {
	for address := range s.groups[0] {
		var group []*udp.Conn
		for _, conns := range s.groups {
			if c, ok := conns[address].(*udp.Conn); ok {
				group = append(group, c)
			}
		}
		give(group...)
	}
}

// Run serves until ctx is done or Close is called, and closes everything. Errors of single packets never end it.
func (s *Server) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { s.Close() })()
	var workers sync.WaitGroup
	for group, conns := range s.groups {
		for local := range conns {
			w := newWorker(s, group, local, s.natives[group*len(conns)+local])
			workers.Go(func() { w.run(ctx) })
		}
	}
	if s.kernel != nil {
		workers.Go(func() { s.kernel.Run(ctx) })
	}
	workers.Wait()
	err := errors.Join(s.Close(), closeAll(s.natives))
	if s.kernel != nil {
		err = errors.Join(err, s.kernel.Close())
	}
	return err
}

// SetSecrets replaces the secrets of Config. It may be called at any time, and delays no packets.
func (s *Server) SetSecrets(secrets *Secrets) {
	// First the kernel: it answers nobody with a secret that the program refuses.
	s.tellKernel(func(k Kernel) error { return k.SetSecrets(secrets) })
	s.handler.SetSecrets(secrets)
}

// SetFilter replaces the filter of Config. It may be called at any time, and delays no packets.
func (s *Server) SetFilter(f teredo.Filter) {
	s.handler.SetFilter(f)
	s.tellKernel(func(k Kernel) error { return k.SetFilter(f) })
}

// Close ends Run and closes the UDP sockets. Calls after the first do nothing and return the same.
func (s *Server) Close() error { return s.close() }

// openNatives opens raw sockets, one for each worker. Without them the server still forwards between Teredo clients.
func (s *Server) openNatives() {
	s.natives = make([]nativeSender, len(slices.Concat(s.groups...)))
	for i := range s.natives {
		raw, err := s.openRaw()
		if err != nil {
			s.log.Warn("clients cannot test native IPv6 hosts through this server: "+
				"it needs IPv6 on this host and the capability CAP_NET_RAW", "error", err)
			closeAll(s.natives[:i])
			s.natives = slices.Repeat([]nativeSender{noNative{}}, len(s.natives))
			return
		}
		s.natives[i] = raw
	}
	s.native.Store(true)
}

// TryNative reports why clients could not test native IPv6 hosts through a server of this process.
func TryNative() error {
	raw, err := openRaw()
	if err != nil {
		return err
	}
	return raw.Close()
}

// noNative replaces raw sockets that could not be opened.
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
