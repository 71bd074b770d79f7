package server

import (
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/teredo-suite/teredo/internal/drop"
)

// Status is the state of a server.
type Status struct {
	Bind          []netip.Addr `json:"bind"`                     // addresses it listens on: the primary, then the secondary
	Public        []netip.Addr `json:"public"`                   // the addresses that the Internet sees
	Prefix        netip.Prefix `json:"prefix"`                   // of its clients, a /64
	NativePrefix  netip.Prefix `json:"native_prefix,omitzero"`   // of their native addresses
	Native        bool         `json:"native"`                   // it can send to native IPv6 hosts
	SecureClients int          `json:"secure_clients,omitempty"` // clients with a secret; 0: secure qualification is not required
	Offloads      Offloads     `json:"offloads"`
	UptimeSeconds int64        `json:"uptime_seconds"`
	Counters      Counters     `json:"counters"`
}

// Offloads are what the kernel does for the server.
type Offloads struct {
	KernelPath bool              `json:"kernel_path"`                 // it answers solicitations and forwards bubbles
	Interfaces map[string]string `json:"kernel_interfaces,omitempty"` // at which it does, with the place: xdp or tcx
}

// Counters count packets since the start. Sent packets are counted before the kernel gets them; those that it refuses are in
// Drops, too.
type Counters struct {
	Solicitations  uint64            `json:"solicitations"`       // router solicitations received, good or bad
	Advertisements uint64            `json:"advertisements"`      // router advertisements sent
	ToCone         uint64            `json:"advertisements_cone"` // of these, to clients that say that their NAT is a cone NAT
	EchoesAnswered uint64            `json:"echoes_answered"`     // echo requests to the server itself
	Bubbles        uint64            `json:"bubbles_forwarded"`   // to Teredo clients
	Echoes         uint64            `json:"echoes_forwarded"`    // to Teredo clients
	NativeBubbles  uint64            `json:"bubbles_forwarded_native"`
	NativeEchoes   uint64            `json:"echoes_forwarded_native"`
	InKernel       uint64            `json:"advertisements_kernel"`    // router advertisements that the kernel has sent
	KernelBubbles  uint64            `json:"bubbles_forwarded_kernel"` // bubbles that the kernel has forwarded
	ReceiveErrors  uint64            `json:"receive_errors"`           // failed system calls
	Drops          map[string]uint64 `json:"drops"`                    // by reason
}

// Status returns the present state. It may be called at any time.
func (s *Server) Status() Status {
	st := Status{
		Bind:          []netip.Addr{s.cfg.Primary},
		Public:        []netip.Addr{s.cfg.public()},
		Prefix:        s.cfg.prefix(),
		NativePrefix:  s.cfg.Native,
		Native:        s.native.Load(),
		UptimeSeconds: int64(time.Since(s.started) / time.Second),
		Counters:      s.snapshot(),
	}
	if s.kernel != nil {
		st.Offloads.Interfaces = s.kernel.Interfaces()
		st.Offloads.KernelPath = len(st.Offloads.Interfaces) > 0
		if c, err := s.kernel.Counters(); err == nil { // it fails only when it is closed
			st.Counters.add(c)
		}
	}
	if secrets := s.handler.secrets.Load(); secrets != nil {
		st.SecureClients = len(secrets.keys)
	}
	if s.cfg.Secondary.IsValid() {
		st.Bind = append(st.Bind, s.cfg.Secondary)
		st.Public = append(st.Public, s.cfg.public2())
	}
	return st
}

// Served is how many packets the server has sent since the start. It may be called at any time.
func (s *Server) Served() (n uint64) {
	for i := range s.counters {
		c := &s.counters[i]
		for kind := range c.udp {
			n += c.udp[kind].Load() + c.ipv6[kind].Load()
		}
	}
	return n
}

// counters is what a worker counts in. No two of them share a line of the cache.
type counters struct {
	_ cpu.CacheLinePad

	solicitations, receiveErrors, cone atomic.Uint64
	udp, ipv6                          [kinds]atomic.Uint64 // sent over UDP and natively, by what caused it
	drops                              drop.Counters

	_ cpu.CacheLinePad
}

// add adds what the kernel has counted.
func (c *Counters) add(k Counters) {
	c.Solicitations += k.Solicitations
	c.Advertisements += k.Advertisements
	c.ToCone += k.ToCone
	c.Bubbles += k.Bubbles
	c.InKernel, c.KernelBubbles = k.Advertisements, k.Bubbles
	for reason, n := range k.Drops {
		c.Drops[reason] += n
	}
}

// snapshot adds up what the workers have counted.
func (s *Server) snapshot() (sum Counters) {
	var drops []*drop.Counters
	for i := range s.counters {
		c := &s.counters[i]
		sum.Solicitations += c.solicitations.Load()
		sum.Advertisements += c.udp[Solicitation].Load()
		sum.ToCone += c.cone.Load()
		sum.EchoesAnswered += c.udp[EchoToServer].Load()
		sum.Bubbles += c.udp[Bubble].Load()
		sum.Echoes += c.udp[Echo].Load()
		sum.NativeBubbles += c.ipv6[Bubble].Load()
		sum.NativeEchoes += c.ipv6[Echo].Load()
		sum.ReceiveErrors += c.receiveErrors.Load()
		drops = append(drops, &c.drops)
	}
	sum.Drops = drop.Sum(drops...)
	return sum
}
