package tunnel

import (
	"context"
	"net/netip"
	"time"

	"github.com/teredo-suite/teredo/qualify"
)

// portMap is a port of the gateway that is asked for, and what has come of it. It belongs to the control goroutine.
type portMap struct {
	latest   slot[way] // for keepPortMapped
	way      way
	asking   bool           // the gateway has not answered yet
	external netip.AddrPort // zero: there is no mapping
	protocol string
	outside  netip.Addr // the NAT's address as the server saw it last
}

// way is between which addresses packets to the server leave. The zero way has no port mapped.
type way struct {
	server netip.Addr
	local  netip.AddrPort
}

// String is for the status.
func (p *portMap) String() string {
	if !p.external.IsValid() {
		return "none"
	}
	return p.protocol + " " + p.external.String()
}

// begin begins qualification on the present way. RFC 6081 §5.3.3 has the gateway map the service port before that; here both
// go on at once, so that no silent gateway delays anything. A mapping that comes later has the server asked again.
func (c *Client) begin(now time.Time) {
	c.mapPort(way{c.servers.Primary, c.local})
	c.qualifier.Start(now, &c.out.UDP)
}

// mapPort has the gateway on a way map the service port, instead of the gateway that was asked for another local address. There
// is no NAT before a global address, and so nobody to ask.
func (c *Client) mapPort(w way) {
	if filter := c.cfg.filter(c.network); !w.local.IsValid() || filter.Global(w.local.Addr()) {
		w = way{}
	}
	if c.cfg.PortMap == nil || w.local == c.portMap.way.local {
		return
	}
	c.portMap.outside = netip.Addr{}
	c.askGateway(w)
}

// askGateway asks for a mapping, also where there is one already.
func (c *Client) askGateway(w way) {
	p := &c.portMap
	p.way, p.asking, p.external, p.protocol = w, w != way{}, netip.AddrPort{}, ""
	p.latest.put(w)
}

// mapped takes what a gateway has answered, or that its mapping has changed. The server is asked how the NAT translates the
// service port now.
func (c *Client) mapped(now time.Time, w way, external netip.AddrPort, protocol string) {
	p := &c.portMap
	if w != p.way {
		return
	}
	changed := external != p.external
	p.asking, p.external, p.protocol = false, external, protocol
	if c.qualifier != nil && changed {
		c.qualifier.Check(now, &c.out.UDP)
	}
}

// followOutside asks for the mapping anew when the NAT has another address outside. The gateway has got one, or the host has
// moved behind another gateway where it has the same local address.
func (c *Client) followOutside(s qualify.Status) {
	p := &c.portMap
	outside := s.Mapped.Addr()
	if s.State != qualify.Qualified || outside == p.outside {
		return
	}
	if p.outside.IsValid() && !p.asking && p.way != (way{}) {
		c.askGateway(p.way)
	}
	p.outside = outside
}

// upnpMapped is the UPnP-Mapped Address/Port of RFC 6081 §5.3.1, given the mapping that the server sees: zero when there is
// none, and when it is the same, as then there is but one NAT (X-UPNP-06, X-HP-01).
func (p *portMap) upnpMapped(seen netip.AddrPort) netip.AddrPort {
	if p.external == seen {
		return netip.AddrPort{}
	}
	return p.external
}

// keepPortMapped keeps the port of one way after the other mapped. Before the next it waits until the last is not mapped any more:
// gateways refuse one port to two addresses.
func (c *Client) keepPortMapped(ctx context.Context) error {
	return c.portMap.latest.each(ctx, func(ctx context.Context, w way) {
		if w == (way{}) {
			return
		}
		c.cfg.PortMap(ctx, PortMapRequest{Server: w.server, Local: w.local, Changed: func(external netip.AddrPort, protocol string) {
			// Fails only when the client has stopped.
			_ = c.call(ctx, func(now time.Time) { c.mapped(now, w, external, protocol) })
		}})
	})
}
