package tunnel

import (
	"context"
	"net/netip"
	"time"

	"golang.zx2c4.com/wireguard/tun"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/peer"
	"github.com/teredo-suite/teredo/teredo"
)

// MostPeersShown bounds what Peers returns.
const MostPeersShown = 10000

// RelayConfig says what a relay works with. Run closes Device and Conn.
type RelayConfig struct {
	Device   tun.Device
	Conn     Conn
	Capacity int           // most clients in the list of recent peers
	Filter   teredo.Filter // which IPv4 addresses are global unicast
	Source   netip.Addr    // IPv6 source of bubbles, a link-local address of the relay
	Errors   netip.Addr    // IPv6 source of ICMPv6 errors; zero: none are sent
}

// Relay carries packets between native IPv6 and Teredo clients (RFC 4380 §5.4).
type Relay struct {
	*pump
	started time.Time
	peers   *peer.Relay
}

// NewRelay makes a relay that Run starts.
func NewRelay(cfg RelayConfig) *Relay {
	now := time.Now()
	drops := new(drop.Counters)
	r := &Relay{
		pump: newPump(cfg.Device, cfg.Conn, drops), started: now,
		peers: peer.NewRelay(now, cfg.Source, cfg.Errors, peer.Config{Capacity: cfg.Capacity, Filter: cfg.Filter, Drops: drops}),
	}
	r.table = r.peers.Table()
	return r
}

// Run carries packets until ctx ends.
func (r *Relay) Run(ctx context.Context) error { return r.run(ctx, r) }

func (r *Relay) outbound(now time.Time, packet []byte) { r.peers.Outbound(now, packet, &r.out) }
func (r *Relay) inbound(now time.Time, from netip.AddrPort, p *teredo.Packet) {
	r.peers.Inbound(now, from, p, &r.out)
}
func (r *Relay) refresh(now time.Time, dst netip.Addr) { r.peers.Refresh(now, dst, &r.out) }
func (r *Relay) tick(now time.Time)                    { r.peers.Tick(now, &r.out) }
func (r *Relay) deadline() (time.Time, bool)           { return r.peers.Deadline() }

// RelayStatus describes a running relay.
type RelayStatus struct {
	State           string            `json:"state"` // "running"
	Local           netip.AddrPort    `json:"local"`
	Peers           int               `json:"peers"`
	UptimeSeconds   float64           `json:"uptime_seconds"`
	SentPackets     uint64            `json:"sent_packets"`
	ReceivedPackets uint64            `json:"received_packets"`
	Drops           map[string]uint64 `json:"drops"`
}

// Status describes the relay now.
func (r *Relay) Status(ctx context.Context) (s RelayStatus, err error) {
	err = r.call(ctx, func(now time.Time) {
		s = RelayStatus{
			State: "running", Local: r.conn.LocalAddr(), Peers: r.peers.Len(), UptimeSeconds: now.Sub(r.started).Seconds(),
			SentPackets: r.sent.Load(), ReceivedPackets: r.received.Load(), Drops: r.drops.Snapshot(),
		}
	})
	return s, err
}

// Peers describes the clients that the relay knows.
func (r *Relay) Peers(ctx context.Context) (infos []peer.Info, err error) {
	err = r.call(ctx, func(now time.Time) { infos = r.peers.Peers(now, MostPeersShown) })
	return infos, err
}

// LocalAddr is the address and port that the relay uses toward clients.
func (r *Relay) LocalAddr() netip.AddrPort { return r.conn.LocalAddr() }
