package tunnel

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// MostPeersShown bounds what Peers returns.
const MostPeersShown = 10000

// RelayConfig says what a relay works with. Run closes Devices, Conns and what Kernel opens.
type RelayConfig struct {
	Devices    []Device               // queues of the TUN device, at least one
	Conns      []Conn                 // sockets of one UDP port, over which the kernel spreads the clients; at least one
	Kernel     func() (Kernel, error) // as in ClientConfig
	Capacity   int                    // most clients in the list of recent peers
	Natives    teredo.NativePrefixes  // that stand for clients' addresses outside of the Teredo service
	PermitIPv4 []netip.Prefix         // special-use IPv4 ranges to take for global ones; SetPermit changes them
	Network    RelayNetwork           // as it is at the start; tell changes with NetworkChanged
	Rand       func([]byte)           // fills with random bytes; one goroutine at a time calls it; nil: crypto/rand
	Legacy     Legacy                 // of a relay in another process, whose Devices and Conns these are
	Ready      func()                 // is called when all is open, and the kernel carries the flows of Legacy; it may be nil
}

// RelayNetwork is what a relay needs to know about the network that its host is in.
type RelayNetwork struct {
	Broadcasts []netip.Addr   // directed-broadcast addresses of the attached IPv4 subnets
	Errors     netip.Addr     // IPv6 source of ICMPv6 errors; zero: none are sent
	Serve      []netip.Prefix // native IPv6 addresses that are served; nil: every global one but Own, empty: none (R-RX-04)
	Own        []netip.Addr   // the host's own native IPv6 addresses; to these nothing is delivered unless Serve names them
	BehindNAT  bool           // the relay's own IPv4 address is private (R-TX-07)
}

// serves is Serve in words that need no explanation.
func (n RelayNetwork) serves() []netip.Prefix {
	if n.Serve == nil {
		return []netip.Prefix{netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20}), 3)} // global unicast
	}
	return n.Serve
}

// Relay carries packets between native IPv6 and Teredo clients (RFC 4380 §5.4).
type Relay struct {
	*tunnel
	cfg     RelayConfig
	peers   *peer.Relay
	permit  atomic.Pointer[[]netip.Prefix] // special-use IPv4 ranges to take for global ones now
	network RelayNetwork                   // of the control goroutine

	restored int // peers that another process has known
}

// NewRelay makes a relay that Run starts.
func NewRelay(cfg RelayConfig) *Relay {
	now := time.Now()
	drops, sockets := new(drop.Counters), newSockets(nil)
	sockets.serve(cfg.Conns...)
	peers := peer.NewRelay(now, cfg.Network.Errors, peer.Config{
		Capacity: cfg.Capacity, Filter: cfg.Network.filter(cfg.PermitIPv4), Drops: drops, Rand: cfg.Rand, Natives: cfg.Natives,
	})
	peers.Serve(cfg.Network.Serve, cfg.Network.Own)
	peers.SetBehindNAT(cfg.Network.BehindNAT)
	r := &Relay{
		tunnel: newTunnel(cfg.Devices, len(cfg.Conns), sockets, peers, cfg.Kernel, drops), cfg: cfg, peers: peers, network: cfg.Network,
	}
	r.restored = r.restore(cfg.Legacy, peers)
	r.permit.Store(&cfg.PermitIPv4)
	r.turnBack = func(now time.Time, packet []byte) { r.peers.Turned(now, packet, &r.out) }
	return r
}

// Restored is how many peers of RelayConfig.Legacy the relay has taken over.
func (r *Relay) Restored() int { return r.restored }

// filter permits special-use ranges, and refuses the directed-broadcast addresses of now (SEC-V4-01).
func (n RelayNetwork) filter(permit []netip.Prefix) teredo.Filter {
	return teredo.Filter{Permit: permit, Broadcasts: n.Broadcasts}
}

// SetPermit changes RelayConfig.PermitIPv4. Paths that are known stay until they are given up.
func (r *Relay) SetPermit(ctx context.Context, permit []netip.Prefix) error {
	return r.call(ctx, func(time.Time) {
		if !slices.Equal(permit, *r.permit.Load()) {
			r.permit.Store(&permit)
			r.kernel.takeAllBack()
			r.peers.SetFilter(r.network.filter(permit))
		}
	})
}

// NetworkChanged tells the relay that addresses of its host have changed.
func (r *Relay) NetworkChanged(ctx context.Context, n RelayNetwork) error {
	return r.call(ctx, func(now time.Time) {
		r.network = n
		r.kernel.takeAllBack() // their uplink may be another one now
		r.peers.SetFilter(n.filter(*r.permit.Load()))
		r.peers.SetErrorSource(n.Errors)
		r.peers.Serve(n.Serve, n.Own)
		r.peers.SetBehindNAT(n.BehindNAT)
	})
}

// Run carries packets until ctx ends.
func (r *Relay) Run(ctx context.Context) error {
	ready := r.cfg.Ready
	if ready == nil {
		ready = func() {}
	}
	var receivers []job
	for number, conn := range r.cfg.Conns {
		o := r.outlets.receivers[number]
		receivers = append(receivers, job{"service port", func(context.Context) error { return o.receive(conn, 0, batch) }})
	}
	return r.run(ctx, r, ready, receivers...)
}

func (r *Relay) outbound(now time.Time, packet []byte) { r.peers.Outbound(now, packet, &r.out) }
func (r *Relay) inbound(now time.Time, from netip.AddrPort, _ uint8, p *teredo.Packet) {
	r.peers.Inbound(now, from, p, &r.out)
}
func (r *Relay) refresh(now time.Time, packet []byte) { r.peers.Refresh(now, packet, &r.out) }
func (r *Relay) tick(now time.Time)                   { r.peers.Tick(now, &r.out) }
func (r *Relay) reconcile(time.Time)                  {}
func (r *Relay) deadline() (time.Time, bool)          { return r.peers.Deadline() }

// RelayStatus describes a running relay.
type RelayStatus struct {
	State    string                `json:"state"` // "running"
	Local    netip.AddrPort        `json:"local"`
	Serves   []netip.Prefix        `json:"serves"`                    // native IPv6 addresses
	Natives  teredo.NativePrefixes `json:"native_prefixes,omitempty"` // SERVER=PREFIX, of clients' native addresses
	Capacity int                   `json:"capacity"`                  // most peers that are remembered
	Carrier
}

// Status describes the relay now.
func (r *Relay) Status(ctx context.Context) (s RelayStatus, err error) {
	err = r.call(ctx, func(now time.Time) { s = r.status(now) })
	return s, err
}

func (r *Relay) status(now time.Time) RelayStatus {
	return RelayStatus{
		State: "running", Local: r.cfg.Conns[0].LocalAddr(), Serves: r.network.serves(), Natives: r.cfg.Natives,
		Capacity: r.cfg.Capacity, Carrier: r.carrier(now),
	}
}

// Peers describes the clients that the relay knows.
func (r *Relay) Peers(ctx context.Context) (peers []Peer, err error) {
	err = r.call(ctx, func(now time.Time) { peers = r.peers.Peers(now, MostPeersShown) })
	r.kernel.carriers(peers)
	return peers, err
}
