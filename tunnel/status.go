package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/peer"
)

// ClientStatus describes a running client.
type ClientStatus struct {
	State           string            `json:"state"`                    // initial, starting, qualified, offline (RFC 4380 §5.2)
	Address         netip.Addr        `json:"address"`                  // Teredo address, zero unless qualified
	Local           netip.AddrPort    `json:"local"`                    // local IPv4 address and service port
	Mapped          netip.AddrPort    `json:"mapped"`                   // the same as the server sees it
	Server          netip.Addr        `json:"server"`                   // primary server address, zero until it is known
	NAT             string            `json:"nat"`                      // none, restricted, symmetric, unknown; cone with the cone phase
	LastError       string            `json:"last_error"`               // why it is not qualified, and what helps
	Warning         string            `json:"warning,omitempty"`        // what needs attention though it works
	LastRefused     string            `json:"last_refused,omitempty"`   // the latest router advertisement that was refused, and why
	WaitingFor      string            `json:"waiting_for"`              // what it waits for now
	RTTMillis       float64           `json:"server_rtt_ms"`            // of the last exchange with the server, 0: none
	HeardSeconds    float64           `json:"server_heard_seconds_ago"` // -1: never
	RefreshSeconds  float64           `json:"refresh_interval_seconds"`
	RefreshState    string            `json:"refresh_interval_state,omitempty"` // how far its determination is
	Peers           int               `json:"peers"`
	UptimeSeconds   float64           `json:"uptime_seconds"`
	SentPackets     uint64            `json:"sent_packets"`
	ReceivedPackets uint64            `json:"received_packets"`
	Drops           map[string]uint64 `json:"drops"`
}

// Status describes the client now.
func (c *Client) Status(ctx context.Context) (s ClientStatus, err error) {
	err = c.call(ctx, func(now time.Time) { s = c.status(now) })
	return s, err
}

func (c *Client) status(now time.Time) ClientStatus {
	q := c.qualification(now)
	s := ClientStatus{
		State: q.State.String(), Address: q.Address, Local: c.conn.LocalAddr(), Mapped: q.Mapped, Server: c.servers.Primary,
		NAT: q.NAT.String(), LastError: q.LastError, WaitingFor: q.Attempt,
		Warning: q.Warning, LastRefused: q.Refused.String(),
		RefreshSeconds: c.refreshInterval().Seconds(), RefreshState: c.determination.progress(),
		RTTMillis: float64(q.RTT) / float64(time.Millisecond), HeardSeconds: -1,
		Peers: c.peers.Len(), UptimeSeconds: now.Sub(c.started).Seconds(),
		SentPackets: c.sent.Load(), ReceivedPackets: c.received.Load(), Drops: c.drops.Snapshot(),
	}
	if !q.LastHeard.IsZero() {
		s.HeardSeconds = now.Sub(q.LastHeard).Seconds()
	}
	if c.local.IsValid() {
		s.Local = c.local
	}
	switch {
	case c.configError != nil:
		s.LastError = c.configError.Error()
	case c.lookupError != nil && c.network.Native == "" && !s.Address.IsValid():
		s.LastError = c.lookupError.Error()
	}
	return s
}

// Peers describes the peers that the client knows.
func (c *Client) Peers(ctx context.Context) (infos []peer.Info, err error) {
	err = c.call(ctx, func(now time.Time) { infos = c.peers.Peers(now, MostPeersShown) })
	return infos, err
}
