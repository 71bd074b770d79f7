package tunnel

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
)

// ClientStatus describes a running client.
type ClientStatus struct {
	State          string         `json:"state"`                           // initial, starting, qualified, offline (RFC 4380 §5.2)
	Address        netip.Addr     `json:"address"`                         // Teredo address, zero unless qualified
	NativeAddress  netip.Addr     `json:"native_address"`                  // in the native prefix of the server; zero if it has told none, or unless qualified
	Local          netip.AddrPort `json:"local"`                           // local IPv4 address and service port
	Mapped         netip.AddrPort `json:"mapped"`                          // the same as the server sees it
	Server         netip.Addr     `json:"server"`                          // primary server address, zero until it is known
	Server2        string         `json:"server2"`                         // secondary address, and whether it answers; or none
	NAT            string         `json:"nat"`                             // none, restricted, symmetric, unknown; cone with the cone phase
	Mapping        string         `json:"mapping"`                         // of the NAT: none, endpoint-independent, symmetric, unknown
	Filtering      string         `json:"filtering"`                       // endpoint-independent, which only the cone phase tells; unknown
	PortPreserving bool           `json:"port_preserving"`                 // the mapped port is the local one
	Sequential     string         `json:"sequential"`                      // a symmetric NAT gives out ports one after the other: yes, no, unknown
	Hairpinning    string         `json:"hairpinning"`                     // the NAT turns round what is sent to its mappings from inside: yes, no, unknown
	PortMapping    string         `json:"port_mapping"`                    // at the gateway: protocol and external address, or none
	NativeIPv6     string         `json:"native_ipv6,omitempty"`           // interface with native IPv6, to which the client yields
	LastError      string         `json:"last_error"`                      // why it is not qualified, and what helps
	LastRefused    string         `json:"last_refused,omitempty"`          // the latest router advertisement that was refused, and why
	WaitingFor     string         `json:"waiting_for"`                     // what it waits for now
	RTTMillis      float64        `json:"server_rtt_ms"`                   // of the last exchange with the server, 0: none
	HeardSeconds   float64        `json:"server_heard_seconds_ago"`        // -1: never
	SilentSeconds  float64        `json:"server_silent_seconds,omitempty"` // the server has served, and has not answered for so long
	RefreshSeconds float64        `json:"refresh_interval_seconds"`
	RefreshState   string         `json:"refresh_interval_state,omitempty"` // how far its determination is
	Carrier
}

// Carrier describes what client and relay have in common, as they carry packets.
type Carrier struct {
	Offloads      Offloads          `json:"offloads"`
	Peers         int               `json:"peers"`
	UptimeSeconds float64           `json:"uptime_seconds"`
	Traffic                         // of all packets
	Paths         Paths             `json:"paths,omitzero"` // of these, what went to and from peers
	Drops         map[string]uint64 `json:"drops"`
	Queues        map[string]int    `json:"queues,omitempty"` // packets that wait for the control goroutine, in queues that are not empty
	Counts
	Budgets
}

func (t *tunnel) carrier(now time.Time) Carrier {
	all, paths := t.carried()
	return Carrier{
		Offloads: t.offloads(), Peers: t.peers.Len(), UptimeSeconds: now.Sub(t.started).Seconds(), Traffic: all, Paths: paths,
		Drops: t.dropped(), Queues: t.waiting(), Counts: t.peers.Counts(), Budgets: t.peers.Budgets(),
	}
}

// Offloads are the offloads of the kernel that are in use now. The first queue and the first socket of the service port stand for all.
type Offloads struct {
	UDPGSO bool `json:"udp_gso"` // datagrams leave in bursts
	UDPGRO bool `json:"udp_gro"` // and arrive in bursts
	TUNTCP bool `json:"tun_tcp"` // TCP segments cross the interface in bursts
	TUNUDP bool `json:"tun_udp"` // and UDP datagrams

	KernelPath  bool `json:"kernel_path"`  // the kernel carries confirmed flows
	KernelFlows int  `json:"kernel_flows"` // as many as it carries now

	// Of those, so many whose bursts of TCP the program carries: something on the way drops datagrams without a UDP checksum.
	FlowsWithoutBursts int `json:"kernel_flows_without_bursts,omitempty"`
}

func (t *tunnel) offloads() Offloads {
	var socket ConnOffloads
	if conn := t.sockets.conn(0, 0); conn != nil {
		socket = conn.Offloads()
	}
	device := t.devices[0].Offloads()
	return Offloads{
		UDPGSO: socket.GSO, UDPGRO: socket.GRO, TUNTCP: device.TCP, TUNUDP: device.UDP,
		KernelPath: t.kernel.opened.Load(), KernelFlows: int(t.kernel.count.Load()), FlowsWithoutBursts: int(t.kernel.bursts.Load()),
	}
}

// Status describes the client now.
func (c *Client) Status(ctx context.Context) (s ClientStatus, err error) {
	err = c.call(ctx, func(now time.Time) { s = c.status(now) })
	return s, err
}

func (c *Client) status(now time.Time) ClientStatus {
	q := c.words(now)
	s := ClientStatus{
		State: q.State.String(), Address: q.Address, NativeAddress: q.Native, Mapped: q.Mapped, Server: c.servers.Primary,
		Server2: secondAddress(q), NAT: q.NAT.String(), Sequential: q.Sequential.String(), Hairpinning: c.hairpin.Result(q.Address).String(),
		PortMapping: c.portMap.String(), LastError: q.LastError, WaitingFor: q.Attempt,
		LastRefused: q.Refused.String(), NativeIPv6: c.network.Native,
		RefreshSeconds: c.refreshInterval().Seconds(), RefreshState: c.determination.progress(),
		RTTMillis: millis(q.RTT), HeardSeconds: -1,
		Carrier: c.carrier(now),
	}
	if !q.LastHeard.IsZero() {
		s.HeardSeconds = now.Sub(q.LastHeard).Seconds()
	}
	if conn := c.sockets.conn(0, 0); c.local.IsValid() {
		s.Local = c.local
	} else if conn != nil {
		s.Local = conn.LocalAddr()
	}
	if !q.SilentSince.IsZero() {
		s.SilentSeconds = now.Sub(q.SilentSince).Seconds()
	}
	if c.portMap.asking && q.State == qualify.Qualified {
		waits := fmt.Sprintf("the gateway to map UDP port %d", c.local.Port())
		if s.WaitingFor != "" {
			waits = s.WaitingFor + "; " + waits
		}
		s.WaitingFor = waits
	}
	s.Mapping, s.Filtering = q.NAT.Behaviour()
	s.PortPreserving = q.Mapped.IsValid() && q.Mapped.Port() == s.Local.Port()
	switch {
	case c.address.err != nil:
		s.LastError = c.address.err.Error()
	case c.lookupError != nil && c.network.Native == "" && !s.Address.IsValid():
		s.LastError = c.lookupError.Error()
	}
	return s
}

// secondAddress says which secondary address of the server tells the kind of the NAT, and how far that is.
func secondAddress(q qualify.Status) string {
	switch {
	case !q.Secondary.IsValid():
		return "none"
	case q.Second == qualify.Answers:
		return q.Secondary.Addr().String() + " (answers)"
	case q.Second == qualify.Silent:
		return q.Secondary.Addr().String() + " (does not answer)"
	}
	return q.Secondary.Addr().String() + " (not asked yet, or its answer is waited for)"
}

// Peers describes the peers that the client knows.
func (c *Client) Peers(ctx context.Context) (peers []Peer, err error) {
	err = c.call(ctx, func(now time.Time) { peers = c.peers.Peers(now, MostPeersShown) })
	c.kernel.carriers(peers)
	return peers, err
}
