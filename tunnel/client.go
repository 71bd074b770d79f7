package tunnel

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/internal/tun"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	configureRetry = 5 * time.Second
	clientPeers    = 4096 // entries in a client's list of recent peers
)

// ClientConfig says what a client works with. Run closes Device, Conn and what Kernel opens.
type ClientConfig struct {
	Device tun.Device
	Conn   Conn
	Kernel func() (Kernel, error) // opens what carries packets of confirmed flows by itself; it, or what it opens, is nil: nothing does
	Log    *slog.Logger

	// Servers are tried in this order, and the one that serves is kept as long as it does.
	Servers []Lookup
	// Permit are special-use ranges, IPv4 and IPv6, to take for global ones.
	Permit []netip.Prefix
	// Rand fills with random bytes; one goroutine at a time calls it. Nil: crypto/rand.
	Rand func([]byte)
	// Last is the Teredo address of an earlier run, which the client has again where server and mapping are the same; zero: none.
	Last teredo.Address
	// Network is the network as it is at the start. Tell changes with NetworkChanged.
	Network Network
	// Local is the local IPv4 address and port that packets to the server leave from, invalid when not known.
	Local func(server netip.Addr) netip.AddrPort
	// Configure replaces the old Teredo address of the interface by the new one; either may be zero.
	Configure func(old, new netip.Addr) error
	// Restore gives the interface back what others have taken from it since Configure, and says what. RestoreInterface calls it.
	Restore func(address netip.Addr) (lost []string, err error)
	// Discovery opens the socket for local discovery bubbles on the interface that has the local address. Nil: no local
	// discovery.
	Discovery func(local netip.Addr) (Conn, error)
	// ClientID and Secret are for secure qualification, and ConePhase is for old servers; see qualify.Config. SetSecret
	// changes the first two.
	ClientID, Secret []byte
	ConePhase        bool
	// Interval is the refresh interval; 0 means 30 s. SecondaryPort has it determined instead (RFC 4380 §5.2.7): it opens
	// another UDP port for that.
	Interval      time.Duration
	SecondaryPort func() (Conn, error)
	// Extensions are the parts of RFC 6081 to use. Two of them need RandomPort, which opens another UDP port.
	Extensions peer.Extensions
	RandomPort func() (Conn, error)
	// PortMap has the gateway toward the server map a UDP port to the local one until ctx ends, then has that undone, and
	// returns. It tells the first result, and each other one: the zero AddrPort for none. Nil: no gateway is asked.
	PortMap func(ctx context.Context, server netip.Addr, local netip.AddrPort, changed func(external netip.AddrPort, protocol string))
	// Changed is told about each change of the state, in a few words. It may be nil.
	Changed func(state string)
}

// Client gives a host behind an IPv4 NAT its IPv6 connectivity (RFC 4380 §5.2).
type Client struct {
	*pump
	cfg     ClientConfig
	started time.Time
	peers   *peer.Client

	// Of the control goroutine.
	servers     Servers
	qualifier   *qualify.Machine // nil until the server's addresses are known, and while the client yields
	state       qualify.State
	silent      bool                  // the server has ceased to answer
	second      qualify.SecondAddress // what the second address has told
	network     Network
	local       netip.AddrPort // local address and port toward the server
	configured  netip.Addr     // the address that the interface has
	last        teredo.Address // that it had last, in this run or an earlier one
	retry       time.Time      // when to try Configure again; zero: no need
	discoveryAt netip.Addr     // local address at which local discovery is on
	lookupError error
	configError error

	determination determination
	hairpin       *qualify.HairpinTest
	portMap       portMap

	// For seek.
	failed         chan struct{} // the server in use does not serve
	networkChanged chan struct{}

	discover  chan netip.Addr // for listenLocally
	secondary chan Conn       // for listenSecondary
	ways      chan way        // for keepPorts
}

// NewClient makes a client that Run starts.
func NewClient(cfg ClientConfig) *Client {
	now := time.Now()
	drops := new(drop.Counters)
	c := &Client{
		pump: newPump(cfg.Device, cfg.Conn, cfg.Kernel, drops), cfg: cfg, started: now,
		network: cfg.Network, last: cfg.Last, failed: make(chan struct{}, 1), networkChanged: make(chan struct{}, 1),
		hairpin:  qualify.NewHairpinTest(cfg.Rand),
		discover: make(chan netip.Addr, 1), secondary: make(chan Conn, 1), ways: make(chan way, 1),
	}
	c.ports.open = cfg.RandomPort
	c.peers = peer.NewClient(now, peer.Config{
		Capacity: clientPeers, Filter: c.filter(), Drops: drops, Rand: cfg.Rand,
		Extensions: cfg.Extensions, Ports: peer.Ports{Open: c.openPort, Close: c.retirePort},
	})
	c.peers.SetSubnets(cfg.Network.Subnets)
	c.table, c.kernel.peers = c.peers.Table(), c.peers
	return c
}

// Run qualifies, and carries packets until ctx ends. The interface, closed at the end, takes its addresses and routes along.
func (c *Client) Run(ctx context.Context) error {
	return c.run(ctx, c, c.seek, c.listenLocally, c.listenSecondary, c.endDetermination, c.keepPorts)
}

func (c *Client) outbound(now time.Time, packet []byte) { c.peers.Outbound(now, packet, &c.out) }
func (c *Client) refresh(now time.Time, dst netip.Addr) { c.peers.Refresh(now, dst, &c.out) }

// inbound tells the server's packets from those of peers (RFC 4380 §5.2.3).
func (c *Client) inbound(now time.Time, from netip.AddrPort, via uint8, p *teredo.Packet) {
	if c.qualifier == nil {
		c.drops.Count(drop.NotQualified)
		return
	}
	if via == 0 && from == netip.AddrPortFrom(c.servers.Primary, teredo.Port) {
		c.qualifier.Heard(now)
		c.askedBy(now, p)
	}
	if via == 0 && c.hairpin.Inbound(p) {
		return
	}
	if via != 0 || !teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement) {
		c.peers.InboundVia(now, from, via, p, &c.out)
		return
	}
	if err := c.qualifier.Inbound(now, from, p, &c.out.UDP); err != nil {
		c.drops.Count(drop.Advertisement)
		c.cfg.Log.Debug("router advertisement refused", "from", from, "error", err)
	}
	c.follow(now)
}

func (c *Client) tick(now time.Time) {
	c.peers.Tick(now, &c.out)
	if m := c.qualifier; m != nil {
		m.Tick(now, &c.out.UDP)
	}
	c.tickDetermination(now)
	c.follow(now)
}

func (c *Client) deadline() (at time.Time, ok bool) {
	at, ok = c.peers.Deadline()
	earlier := func(t time.Time) {
		if !ok || t.Before(at) {
			at, ok = t, true
		}
	}
	if m := c.qualifier; m != nil {
		if t, set := m.Deadline(); set {
			earlier(t)
		}
	}
	if t, set := c.determination.deadline(); set {
		earlier(t)
	}
	if t, set := c.hairpin.Deadline(); set {
		earlier(t)
	}
	if !c.retry.IsZero() {
		earlier(c.retry)
	}
	return at, ok
}

// follow brings interface and peers in line with what the qualification machine says.
func (c *Client) follow(now time.Time) {
	s := c.qualification(now)
	c.noteSolicitation()
	if s.Address != c.configured && !now.Before(c.retry) {
		c.configure(now, s.Address)
	}
	c.setDiscovery(now, s.State)
	c.determine(now, s)
	if c.cfg.Extensions.Hairpinning {
		c.hairpin.Follow(now, s, &c.out.UDP)
	}
	c.followOutside(s)
	c.peers.SetNAT(c.knownNAT(s))
	c.tell(s)
	if s.State == c.state {
		return
	}
	was := c.state
	c.state = s.State
	switch s.State {
	case qualify.Qualified:
		c.cfg.Log.Info("qualified", "address", s.Address, "mapped", s.Mapped, "server", c.servers.Primary)
	case qualify.Offline:
		c.cfg.Log.Warn("offline", "error", s.LastError, "next", s.Attempt)
		select {
		case c.failed <- struct{}{}:
		default:
		}
	default:
		c.cfg.Log.Debug("state", "was", was, "is", s.State)
	}
	c.announce(s)
}

// noteSolicitation tells the workers which nonce the answer of the server has, before the solicitation leaves.
func (c *Client) noteSolicitation() {
	var nonce [8]byte
	if c.qualifier != nil {
		nonce = c.qualifier.Nonce()
	}
	c.nonce.Store(binary.BigEndian.Uint64(nonce[:]))
}

// tell logs that the server has ceased to answer while the client goes on, that it answers again, and what came of its second address.
func (c *Client) tell(s qualify.Status) {
	silent := !s.SilentSince.IsZero()
	switch {
	case silent && !c.silent && s.State == qualify.Qualified:
		c.cfg.Log.Warn("the server does not answer; paths that work stay, new paths wait", "server", c.servers.Primary)
	case !silent && c.silent && s.State == qualify.Qualified && c.state == qualify.Qualified:
		c.cfg.Log.Info("the server answers again", "server", c.servers.Primary)
	}
	c.silent = silent
	if s.Second == qualify.Silent && s.Second != c.second && c.servers.Secondary.IsValid() {
		c.cfg.Log.Warn("the second address of the server does not answer, so the kind of the NAT stays unknown",
			"address", c.servers.Secondary)
	}
	if s.Second == qualify.Answers && s.Second != c.second {
		c.cfg.Log.Info("the server's second address has revealed the kind of the NAT", "nat", s.NAT)
	}
	c.second = s.Second
}

// announce tells the service manager, in a few words.
func (c *Client) announce(s qualify.Status) {
	if c.cfg.Changed == nil {
		return
	}
	switch s.State {
	case qualify.Qualified:
		c.cfg.Changed("qualified as " + s.Address.String())
	case qualify.Offline:
		c.cfg.Changed("offline: " + s.LastError)
	default:
		c.cfg.Changed(s.State.String())
	}
}

// configure gives the interface the address, and only then lets packets use it.
func (c *Client) configure(now time.Time, address netip.Addr) {
	c.takeAllBack(now)
	c.peers.SetAddress(netip.Addr{})
	c.configError = c.cfg.Configure(c.configured, address)
	c.retry = time.Time{}
	if c.configError != nil {
		c.cfg.Log.Error("cannot configure the interface, trying again", "error", c.configError)
		c.retry = now.Add(configureRetry)
		return
	}
	c.configured = address
	if a, ok := teredo.ParseAddress(address); ok {
		c.last = a
	}
	c.peers.SetAddress(address)
}
