package tunnel

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/peer"
	"github.com/teredo-suite/teredo/qualify"
	"github.com/teredo-suite/teredo/teredo"
)

// Network is what a client needs to know about the network that its host is in.
type Network struct {
	Broadcasts []netip.Addr   // directed-broadcast addresses of the attached IPv4 subnets
	Subnets    []netip.Prefix // the attached IPv4 subnets
	Native     string         // the interface through which the host has native IPv6; empty: it has none
}

// NetworkChanged tells the client that addresses or routes have changed, or that the host has slept. A client whose local
// address is another one qualifies anew at once; else it asks the server whether its mapping still holds. While the host
// has native IPv6 the client yields to it (RFC 4380 §5.5).
func (c *Client) NetworkChanged(ctx context.Context, n Network) error {
	return c.call(ctx, func(now time.Time) {
		c.changed(now, n)
		c.networkChanged.put(struct{}{})
	})
}

func (c *Client) changed(now time.Time, n Network) {
	was := c.network.Native
	c.network = n
	c.follow()
	c.peers.SetSubnets(n.Subnets)
	switch {
	case n.Native != "":
		c.yield()
		return
	case was != "":
		c.cfg.Log.Info("native IPv6 is gone, qualifying again", "interface", was)
		return // seek finds a server now
	case c.qualifier == nil:
		return
	}
	local := c.cfg.Local(c.servers.Primary)
	if local == c.local {
		c.qualifier.Check(now, &c.out.UDP)
		return
	}
	c.cfg.Log.Info("the local address has changed, qualifying again", "was", c.local, "is", local)
	c.local = local
	c.begin(now)
}

// SetPermit changes ClientConfig.Permit. What was accepted before stays until it is given up.
func (c *Client) SetPermit(ctx context.Context, permit []netip.Prefix) error {
	return c.call(ctx, func(time.Time) {
		if !slices.Equal(permit, c.cfg.Permit) {
			c.cfg.Permit = permit
			c.follow()
		}
	})
}

// follow has the rules follow a change of the network or of the configuration.
func (c *Client) follow() {
	c.kernel.takeAllBack() // their uplink may be another one now
	filter := c.cfg.filter(c.network)
	c.peers.SetFilter(filter)
	if c.qualifier != nil {
		c.qualifier.SetFilter(filter)
	}
}

// yield gives up the Teredo address, as long as the host has IPv6 by other means (SUN-01).
func (c *Client) yield() {
	if c.qualifier == nil {
		return
	}
	c.cfg.Log.Info("yielding to native IPv6", "interface", c.network.Native)
	c.qualifier = nil
	c.mapPort(way{})
}

// filter is the configured one with the directed-broadcast addresses of now (SEC-V4-01).
func (cfg *ClientConfig) filter(n Network) teredo.Filter {
	return teredo.Filter{Permit: cfg.Permit, Broadcasts: slices.Clone(n.Broadcasts)}
}

// knownNAT is what the path rules need to know about our NAT.
func (c *Client) knownNAT(s qualify.Status) peer.NAT {
	return peer.NAT{
		Symmetric:      s.NAT == qualify.Symmetric,
		Tested:         s.NAT != qualify.Unknown,
		Sequential:     s.Sequential == qualify.Yes,
		PortMapping:    c.portMap.external.IsValid(),
		External:       c.portMap.upnpMapped(s.Mapped),
		PortPreserving: s.Mapped.IsValid() && s.Mapped.Port() == c.local.Port(),
		Local:          c.local,
		Secondary:      s.Secondary,
	}
}

// qualification is what the qualification machine says, without its words, or what stands in for it while there is none.
func (c *Client) qualification() qualify.Status {
	switch {
	case c.network.Native != "":
		return qualify.Status{State: qualify.Offline}
	case c.qualifier == nil:
		return qualify.Status{}
	}
	return c.qualifier.Facts()
}

// serves reports whether the server in use has given the client an address.
func (c *Client) serves() bool { return c.qualification().State == qualify.Qualified }

// facts are those of qualification, but the client is not qualified before its interface has the address, unless that fails.
func (c *Client) facts() qualify.Status {
	s := c.qualification()
	if c.configuring(s) {
		s.State, s.Address, s.Native = qualify.Starting, netip.Addr{}, netip.Addr{}
	}
	return s
}

func (c *Client) configuring(s qualify.Status) bool {
	return s.Address != c.address.configured && s.Address.IsValid() && c.address.err == nil
}

// words are the facts with an explanation of them.
func (c *Client) words(now time.Time) qualify.Status {
	s := c.facts()
	switch {
	case c.network.Native != "":
		s.Attempt = "native IPv6 to go away: until then Teredo is not needed"
	case c.listenError != nil:
		s.LastError, s.Attempt = c.listenError.Error(), "the local address"
	case c.sockets.conn(0, 0) == nil:
		s.Attempt = "the UDP port"
	case c.qualifier == nil:
		s.Attempt = "the IPv4 addresses of the server"
	case c.configuring(c.qualification()):
		s.Attempt = "the interface to get its address"
	default:
		said := c.qualifier.Status(now)
		s.LastError, s.Attempt = said.LastError, said.Attempt
		if s.State != qualify.Qualified && s.LastError == "" && !c.local.IsValid() {
			s.LastError = fmt.Sprintf("no IPv4 route to the server %s: is the network up?", c.servers.Primary)
		}
	}
	return s
}
