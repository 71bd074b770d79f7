package kernelpath

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/teredo-suite/teredo/internal/budget"
	"github.com/teredo-suite/teredo/internal/netcfg"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	mostRoutes     = 4096 // with more, the program answers everything
	mostExceptions = 1024
	mostNeighbors  = 1024
	mostSecrets    = 1 << 16 // the program answers the other clients

	neighborRound = time.Second // how often XDP is told the Ethernet addresses of neighbors
)

// Server answers the clients of a Teredo server in the kernel.
type Server struct {
	cfg     ServerConfig
	maps    serverMaps
	state   serverVariables
	xdp     *ebpf.Program // the rules for network drivers
	tcx     *ebpf.Program // the rules for any interface; nil: the kernel cannot do it, see noTCX
	noTCX   error
	data    []*ebpf.Map // constants and state
	memory  []byte      // of the budgets
	sources *budget.Keyed
	log     *slog.Logger
	changes <-chan netcfg.Change // of this host's network
	stop    func()               // ends changes

	mu         sync.Mutex // of what follows
	hooks      map[int]*hook
	routes     map[serverPrefix]serverRoute
	neighbors  map[serverNeighbor]serverStation
	exceptions map[serverPrefix]uint32
	secrets    map[serverIdentifier]serverSecret
	told       string // the last trouble that was logged
	stale      error  // why the rules in the kernel are no longer those of the program: they must not be used
}

// OpenServer loads the rules into the kernel. They answer from the first Refresh on. Until Close, Run can follow the changes of this
// host's network without a privilege. The error says what is missing when the kernel cannot do it, or may not.
func OpenServer(cfg ServerConfig, log *slog.Logger) (*Server, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		cfg: cfg, log: log, stop: stop, hooks: make(map[int]*hook), routes: make(map[serverPrefix]serverRoute),
		neighbors: make(map[serverNeighbor]serverStation), exceptions: make(map[serverPrefix]uint32),
		secrets: make(map[serverIdentifier]serverSecret),
	}
	err := s.load()
	if err == nil {
		s.changes, err = netcfg.Watch(ctx, "")
	}
	if err == nil {
		err = errors.Join(s.SetFilter(cfg.Filter), s.SetSecrets(cfg.Secrets))
	}
	if err == nil {
		_, err = s.Counts() // which reads files the first time
	}
	if err != nil {
		return nil, errors.Join(explainServer(err), s.Close())
	}
	return s, nil
}

func explainServer(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return errors.New("the kernel path needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN")
	}
	return fmt.Errorf("the kernel path needs Linux 6.6 or later, with BPF and BTF; or Linux 6.1 and a network driver with XDP: %w", err)
}

// load loads the maps and the programs. The rules for any interface need a later kernel than those for network drivers.
func (s *Server) load() error {
	spec, err := loadServer()
	if err != nil {
		return err
	}
	spec.Maps["routes"].MaxEntries = mostRoutes
	spec.Maps["exceptions"].MaxEntries = mostExceptions
	spec.Maps["neighbors"].MaxEntries = mostNeighbors
	spec.Maps["secrets"].MaxEntries = mostSecrets
	spec.Maps["sources"].MaxEntries = uint32(budget.Sets(s.cfg.Sources))
	if err := s.setConstants(spec); err != nil {
		return err
	}
	var objects struct {
		serverMaps
		serverVariables
		XDP       *ebpf.Program `ebpf:"answer_in_driver"`
		Constants *ebpf.Map     `ebpf:".rodata"`
		State     *ebpf.Map     `ebpf:".bss"`
	}
	if err := spec.LoadAndAssign(&objects, nil); err != nil {
		return err
	}
	s.maps, s.state, s.xdp, s.data = objects.serverMaps, objects.serverVariables, objects.XDP, []*ebpf.Map{objects.Constants, objects.State}
	var behind struct {
		TCX *ebpf.Program `ebpf:"answer"`
	}
	shared := map[string]*ebpf.Map{
		"routes": s.maps.Routes, "exceptions": s.maps.Exceptions, "neighbors": s.maps.Neighbors, "sources": s.maps.Sources,
		"counters": s.maps.Counters, "secrets": s.maps.Secrets, "datagrams": s.maps.Datagrams, ".rodata": objects.Constants, ".bss": objects.State,
	}
	s.noTCX = spec.LoadAndAssign(&behind, &ebpf.CollectionOptions{MapReplacements: shared})
	s.tcx = behind.TCX
	return s.openSources()
}

// setConstants tells the rules about the server.
func (s *Server) setConstants(spec *ebpf.CollectionSpec) error {
	public := s.cfg.Public[0]
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	var bound [2]uint32
	var own [4]uint32
	for i, a := range s.cfg.Bind {
		bound[i], own[i] = ipv4(a), ipv4(a)
	}
	for i, a := range s.cfg.Public {
		own[2+i] = ipv4(a)
	}
	var interval, most int64
	if r := s.cfg.Rate; r.PerSecond > 0 {
		interval, most = r.Interval(), int64(r.Burst)*r.Interval()
	}
	for name, value := range map[string]any{
		"bound": bound, "own": own, "second": len(s.cfg.Bind) > 1, "public_address": ipv4(public),
		"started": uint64(now.Nano() - int64(time.Since(s.cfg.Started))), "interval": interval, "most": most,
		"advertisement": teredo.AppendRouterAdvertisement(nil, public, netip.IPv6Unspecified()),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return err
		}
	}
	return nil
}

// openSources makes the budgets, in memory that the rules use, too.
func (s *Server) openSources() (err error) {
	if s.cfg.Rate.PerSecond == 0 {
		return nil
	}
	size := budget.Sets(s.cfg.Sources) * budget.SetSize
	if s.memory, err = unix.Mmap(s.maps.Sources.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("map the memory of the budgets: %w", err)
	}
	s.sources = budget.NewKeyedIn(s.memory, s.cfg.Rate)
	return errors.Join(s.state.Seed.Set(s.sources.Seed()), s.state.Shift.Set(uint32(s.sources.Shift())))
}

// Sources are the budgets of IPv4 addresses. The program must use them for what it sends itself. They are nil when there is no bound,
// and end with Close.
func (s *Server) Sources() *budget.Keyed { return s.sources }

// SetSecrets replaces the secrets, see ServerConfig. When it fails, the program answers everything.
func (s *Server) SetSecrets(secrets map[string]Secret) error {
	wanted := make(map[serverIdentifier]serverSecret)
	for client, secret := range secrets {
		k := serverIdentifier{Size: uint8(len(client))}
		if copy(k.Name[:], client) < len(client) || len(wanted) == mostSecrets {
			continue
		}
		var v serverSecret
		v.Inner.Words, v.Outer.Words = secret.Inner, secret.Outer
		if !secret.Expires.IsZero() {
			v.Expires = uint64(max(1, secret.Expires.UnixNano()))
		}
		wanted[k] = v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	err := replace(s.maps.Secrets, s.secrets, wanted)
	if err == nil {
		err = s.state.Secure.Set(secrets != nil)
	}
	return s.changed("secrets", err)
}

// changed detaches the rules when they could not be told of a change.
func (s *Server) changed(what string, err error) error {
	if err != nil {
		s.stale = fmt.Errorf("tell the kernel about %s: %w", what, err)
		s.detach()
		return s.stale
	}
	return nil
}

// detach has the program answer everything.
func (s *Server) detach() error {
	var errs []error
	for _, h := range s.hooks {
		errs = append(errs, h.Close())
	}
	clear(s.hooks)
	return errors.Join(errs...)
}

// SetFilter replaces the filter. When it fails, the program answers everything.
func (s *Server) SetFilter(f teredo.Filter) error {
	const permitted, broadcast = 1, 2
	wanted := make(map[serverPrefix]uint32)
	for _, p := range f.Permit {
		if p.Addr().Is4() {
			wanted[prefixKey(p)] = permitted
		}
	}
	for _, a := range f.Broadcasts {
		wanted[prefixKey(netip.PrefixFrom(a, a.BitLen()))] = broadcast
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed("permitted addresses", replace(s.maps.Exceptions, s.exceptions, wanted))
}

func prefixKey(p netip.Prefix) serverPrefix {
	return serverPrefix{Bits: uint32(p.Bits()), Address: ipv4(p.Masked().Addr())}
}

// replace makes a map of the kernel have the entries that are wanted, and no others. has says what it has.
func replace[K, V comparable](to *ebpf.Map, has, wanted map[K]V) error {
	for k := range has {
		if _, ok := wanted[k]; ok {
			continue
		}
		if err := to.Delete(k); err != nil {
			return err
		}
		delete(has, k)
	}
	for k, v := range wanted {
		if was, ok := has[k]; ok && was == v {
			continue
		}
		if err := to.Put(k, v); err != nil {
			return err
		}
		has[k] = v
	}
	return nil
}

// Counts are those of all processors.
func (s *Server) Counts() (c ServerCounts, err error) {
	var all []serverCounts
	if err := s.maps.Counters.Lookup(uint32(0), &all); err != nil {
		return c, fmt.Errorf("read the counters of the kernel: %w", err)
	}
	for _, one := range all {
		c.Solicitations += one.Solicitations
		c.Advertisements += one.Advertisements
		c.ToCone += one.Cone
		c.Bubbles += one.Bubbles
		for i, n := range []*uint64{ // in the order of the reasons in server.c, from the first
			&c.Drops.Solicitation, &c.Drops.Destination, &c.Drops.NotGlobal, &c.Drops.NoSecondAddress, &c.Drops.Loop, &c.Drops.Budget,
		} {
			*n += one.Drops[1+i]
		}
	}
	return c, nil
}

// Interfaces are those at which the kernel answers now, each with the place: "xdp" in the driver, or "tcx" behind it.
func (s *Server) Interfaces() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	places := make(map[string]string, len(s.hooks))
	for _, h := range s.hooks {
		places[h.name] = h.place
	}
	return places
}

// Run follows the addresses, routes and neighbors of this host until ctx ends.
func (s *Server) Run(ctx context.Context) {
	neighbors := time.NewTicker(neighborRound)
	defer neighbors.Stop()
	for {
		s.tell(s.Refresh()) // the first time for what has changed before
		for changed := false; !changed; {
			select {
			case <-neighbors.C:
				s.tell(s.refreshNeighbors())
			case _, changed = <-s.changes:
				if !changed {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// tell logs why the kernel does not answer everything that it could, when that is something new.
func (s *Server) tell(err error) {
	var text string
	if err != nil {
		text = err.Error()
	}
	if text != s.told && err != nil {
		s.log.Warn("the program answers in place of the kernel", "reason", err)
	}
	s.told = text
}

// Close has the program answer everything.
func (s *Server) Close() error {
	s.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	errs := []error{s.detach()}
	if s.memory != nil {
		errs = append(errs, unix.Munmap(s.memory))
	}
	errs = append(errs, s.xdp.Close(), s.tcx.Close(), s.maps.Close())
	for _, m := range s.data {
		errs = append(errs, m.Close())
	}
	return errors.Join(errs...)
}
