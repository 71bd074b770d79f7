package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"syscall"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	clientPeers = 4096            // entries in a client's list of recent peers
	listenRetry = 2 * time.Second // between looks whether the host has the local address of the service port
)

// ClientConfig says what a client works with. Run closes Device, and what Listen and Kernel open.
type ClientConfig struct {
	Device Device
	// Listen opens the service port. It is called again as long as the error is EADDRNOTAVAIL, for the address may still come.
	Listen func() (Conn, error)
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
	// Local is the local IPv4 address and port that packets to the server leave from, invalid when not known. It must not wait.
	Local func(server netip.Addr) netip.AddrPort
	// Configure replaces the old Teredo address of the interface by the new one; either may be zero. Restore gives the interface
	// back what others have taken from it since then, and says what. One goroutine calls both.
	Configure func(old, new netip.Addr) error
	Restore   func(address netip.Addr) (lost []string, err error)
	// Addresses is told the Teredo address that the interface has, and the native address, whenever one of them has changed; either
	// may be zero. A new address is told once the server has been asked for the native prefix, which takes at most 4 s. It must not
	// wait, and may be nil.
	Addresses func(address, native netip.Addr)
	// Discovery opens the socket for local discovery bubbles on the interface that has the local address. Nil: no local
	// discovery.
	Discovery func(local netip.Addr) (Conn, error)
	// ClientID and Secret are for secure qualification, and ConePhase is for old servers; see qualify.Config. SetSecret
	// changes the first two.
	ClientID, Secret []byte
	ConePhase        bool
	// NativeAddress has the client ask its server for the native prefix; see qualify.Config.
	NativeAddress bool
	// Interval is the refresh interval; 0 means 30 s. SecondaryPort has it determined instead (RFC 4380 §5.2.7): it opens
	// another UDP port for that.
	Interval      time.Duration
	SecondaryPort func() (Conn, error)
	// Extensions are the parts of RFC 6081 to use. Two of them need RandomPort, which opens another UDP port.
	Extensions Extensions
	RandomPort func() (Conn, error)
	// PortMap has the gateway map a port until ctx ends, then has that undone, and returns. Nil: no gateway is asked.
	PortMap func(ctx context.Context, r PortMapRequest)
	// Changed is told about each change of the state, in a few words, and from when on the client goes on by itself: all is open,
	// or it waits for its local address. It may be nil.
	Changed func(state string, ready bool)
}

// Client gives a host behind an IPv4 NAT its IPv6 connectivity (RFC 4380 §5.2).
type Client struct {
	*tunnel
	cfg   ClientConfig
	peers *peer.Client

	// Of the control goroutine.
	servers     Servers
	qualifier   *qualify.Machine // nil until the server's addresses are known, and while the client yields
	state       qualify.State
	silent      bool                  // the server has ceased to answer
	second      qualify.SecondAddress // what the second address has told
	network     Network
	local       netip.AddrPort // local address and port toward the server
	last        teredo.Address // that the interface had last, in this run or an earlier one
	ready       bool           // the client goes on by itself
	listenError error          // why the service port is not open yet
	lookupError error

	address       ownAddress
	determination determination
	hairpin       *qualify.HairpinTest
	portMap       portMap
	discovery     discovery
	pings         pings
	deadlines     []func() (time.Time, bool)

	// For seek.
	failed         slot[struct{}] // the server in use does not serve
	networkChanged slot[struct{}]

	news slot[news] // for tellManager
}

// news are what the service manager is told.
type news struct {
	state string
	ready bool
}

// NewClient makes a client that Run starts.
func NewClient(cfg ClientConfig) *Client {
	now := time.Now()
	drops, sockets := new(drop.Counters), newSockets(cfg.RandomPort)
	peers := peer.NewClient(now, peer.Config{
		Capacity: clientPeers, Filter: cfg.filter(cfg.Network), Drops: drops, Rand: cfg.Rand,
		Extensions: cfg.Extensions, Ports: sockets.random(),
	})
	peers.SetSubnets(cfg.Network.Subnets)
	c := &Client{
		tunnel: newTunnel([]Device{cfg.Device}, 1, sockets, peers, cfg.Kernel, drops), cfg: cfg, peers: peers,
		network: cfg.Network, last: cfg.Last, hairpin: qualify.NewHairpinTest(cfg.Rand),
		address:       ownAddress{latest: newSlot[netip.Addr](), requests: make(chan func(netip.Addr))},
		determination: determination{latest: newSlot[Conn]()},
		portMap:       portMap{latest: newSlot[way]()},
		discovery:     discovery{latest: newSlot[netip.Addr]()},
		failed:        newSlot[struct{}](), networkChanged: newSlot[struct{}](), news: newSlot[news](),
	}
	c.deadlines = []func() (time.Time, bool){
		peers.Deadline, c.qualifierDeadline, c.determination.deadline, c.hairpin.Deadline, c.address.deadline, c.pings.deadline,
	}
	c.keeps = c.answersPing
	return c
}

// Run qualifies, and carries packets until ctx ends. The interface, closed at the end, takes its addresses and routes along.
func (c *Client) Run(ctx context.Context) error {
	defer c.closeSecondary()
	return c.run(ctx, c, func() { c.setReady(ctx) },
		job{"service port", c.listen}, job{"servers", c.seek}, job{"address", c.keepAddress},
		job{"local discovery", c.listenLocally}, job{"secondary port", c.listenSecondary},
		job{"port mapping", c.keepPortMapped}, job{"service manager", c.tellManager},
	)
}

// listen opens the service port, and carries packets from there.
func (c *Client) listen(ctx context.Context) error {
	for {
		conn, err := c.cfg.Listen()
		if err == nil {
			if c.call(ctx, func(time.Time) { c.listenError = nil; c.sockets.serve(conn) }) != nil {
				return conn.Close()
			}
			return c.outlets.receivers[0].receive(conn, 0, batch)
		}
		if !errors.Is(err, syscall.EADDRNOTAVAIL) {
			return err
		}
		if c.call(ctx, func(now time.Time) { c.waitForAddress(now, err) }) != nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenRetry):
		}
	}
}

func (c *Client) waitForAddress(now time.Time, err error) {
	if c.listenError == nil {
		c.cfg.Log.Warn("cannot open the UDP port yet, trying again", "error", err)
	}
	c.listenError, c.ready = err, true
	c.announce(now)
}

// setReady notes that all is open.
func (c *Client) setReady(ctx context.Context) {
	// It fails only when the client ends.
	_ = c.call(ctx, func(now time.Time) { c.ready = true; c.announce(now) })
}

func (c *Client) outbound(now time.Time, packet []byte) { c.peers.Outbound(now, packet, &c.out) }
func (c *Client) refresh(now time.Time, packet []byte)  { c.peers.Refresh(now, packet, &c.out) }

// inbound tells the server's packets from those of peers (RFC 4380 §5.2.3).
func (c *Client) inbound(now time.Time, from netip.AddrPort, via uint8, p *teredo.Packet) {
	if c.qualifier == nil {
		c.drops.Count(drop.NotQualified)
		return
	}
	if via == 0 && from == netip.AddrPortFrom(c.servers.Primary, teredo.Port) {
		c.qualifier.Heard(now)
		c.kernel.askedBy(p)
	}
	if via == 0 && c.hairpin.Inbound(p) {
		return
	}
	if teredo.IsICMPv6Type(p.IPv6, teredo.ICMPv6RouterAdvertisement) {
		c.advertised(now, from, via, p)
		return
	}
	if c.refusesPing(now, p.IPv6) {
		return
	}
	c.peers.InboundVia(now, from, via, p, &c.out)
}

// advertised gives a router advertisement to the procedure that sends solicitations from the same socket: qualification and
// maintenance at the service port, the determination of the refresh interval at the secondary port (RFC 4380 §5.2.7), and the
// prediction of the next port of a sequential NAT at a random port (RFC 6081 §5.5).
func (c *Client) advertised(now time.Time, from netip.AddrPort, via uint8, p *teredo.Packet) {
	var err error
	switch via {
	case 0:
		err = c.qualifier.Inbound(now, from, p, &c.out.UDP)
	case secondaryPort:
		err = c.determination.machine.Inbound(now, from, p, &c.determination.out)
	default:
		c.peers.InboundVia(now, from, via, p, &c.out)
	}
	if err != nil {
		c.drops.Count(drop.Advertisement)
		c.cfg.Log.Debug("router advertisement refused", "from", from, "via", via, "error", err)
	}
}

func (c *Client) tick(now time.Time) {
	c.peers.Tick(now, &c.out)
	if m := c.qualifier; m != nil {
		m.Tick(now, &c.out.UDP)
	}
	c.tickDetermination(now)
}

func (c *Client) deadline() (at time.Time, ok bool) {
	for _, deadline := range c.deadlines {
		if t, set := deadline(); set && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	return at, ok
}

func (c *Client) qualifierDeadline() (time.Time, bool) {
	if c.qualifier == nil {
		return time.Time{}, false
	}
	return c.qualifier.Deadline()
}

// reconcile brings the interface, the peers and all that depends on them in line with what the qualification machine says.
func (c *Client) reconcile(now time.Time) {
	c.noteSolicitation()
	c.setAddress(now, c.qualification().Address)
	s := c.facts()
	c.tellAddresses(s)
	c.setDiscovery(now, s.State)
	c.determine(now, s)
	if c.cfg.Extensions.Hairpinning {
		c.hairpin.Follow(now, s, &c.out.UDP)
	}
	c.followOutside(s)
	c.peers.SetNAT(c.knownNAT(s))
	c.logServer(s)
	c.followPings(now)
	if s.State == c.state {
		return
	}
	was := c.state
	c.state = s.State
	switch s.State {
	case qualify.Qualified:
		c.cfg.Log.Info("qualified", "address", s.Address, "mapped", s.Mapped, "server", c.servers.Primary)
	case qualify.Offline:
		words := c.words(now)
		c.cfg.Log.Warn("offline", "error", words.LastError, "next", words.Attempt)
		c.failed.put(struct{}{})
	default:
		c.cfg.Log.Debug("state", "was", was, "is", s.State)
	}
	c.announce(now)
}

// noteSolicitation tells the workers which nonce the answer of the server has, before the solicitation leaves.
func (c *Client) noteSolicitation() {
	var nonce [8]byte
	if c.qualifier != nil {
		nonce = c.qualifier.Nonce()
	}
	c.nonce.Store(binary.BigEndian.Uint64(nonce[:]))
}

// logServer logs that the server has ceased to answer while the client goes on, that it answers again, and what came of its second
// address.
func (c *Client) logServer(s qualify.Status) {
	silent := !s.SilentSince.IsZero()
	switch {
	case silent && !c.silent && s.State == qualify.Qualified:
		c.cfg.Log.Warn("the server does not answer; paths that work stay, new paths wait", "server", c.servers.Primary)
	case !silent && c.silent && s.State == qualify.Qualified && c.state == qualify.Qualified:
		c.cfg.Log.Info("the server answers again", "server", c.servers.Primary)
	}
	c.silent = silent
	c.peers.SetServerSilent(silent)
	if s.Second == qualify.Silent && s.Second != c.second && c.servers.Secondary.IsValid() {
		c.cfg.Log.Warn("the second address of the server does not answer, so the kind of the NAT stays unknown",
			"address", c.servers.Secondary)
	}
	if s.Second == qualify.Answers && s.Second != c.second {
		c.cfg.Log.Info("the server's second address has revealed the kind of the NAT", "nat", s.NAT)
	}
	c.second = s.Second
}

// announce has the service manager told of the state, in a few words.
func (c *Client) announce(now time.Time) {
	s := c.words(now)
	state := s.State.String()
	switch {
	case s.State == qualify.Qualified:
		state = "qualified as " + s.Address.String()
	case s.State == qualify.Offline:
		state = "offline: " + s.LastError
	case s.Attempt != "":
		state += ", waiting for " + s.Attempt
	}
	c.news.put(news{state, c.ready})
}

// tellManager tells the service manager, which nobody else waits for.
func (c *Client) tellManager(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case n := <-c.news:
			if c.cfg.Changed != nil {
				c.cfg.Changed(n.state, n.ready)
			}
		}
	}
}
