package peer

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/teredo-suite/teredo/internal/drop"
	"github.com/teredo-suite/teredo/teredo"
)

const (
	discoveryPeriodMin = 200 * time.Second // K-13
	discoveryPeriodMax = 300 * time.Second
	localFor           = Stamp(600 * time.Second) // K-08
	// localTries of the transmissions of a search go to the local address of a local peer, the rest the usual way, for
	// the case that the peer has left the subnet.
	localTries = transmissions / 2
)

// discovery is local client discovery (RFC 4380 §5.2.8): clients of one IPv4 subnet find each other by multicast, because
// not every NAT lets them meet at their mapped addresses.
type discovery struct {
	on      bool
	subnets []netip.Prefix
	next    Stamp // next discovery bubble
}

// SetDiscovery turns local discovery on, with a first bubble at once, or off.
func (c *Client) SetDiscovery(t time.Time, on bool) {
	c.discovery.on, c.discovery.next = on, c.table.Stamp(t)
}

// SetSubnets tells the attached IPv4 subnets, whose hosts may be local peers.
func (c *Client) SetSubnets(subnets []netip.Prefix) { c.discovery.subnets = subnets }

// Deadline is when Tick wants to be called next, if no packet comes before.
func (c *Client) Deadline() (time.Time, bool) {
	at, ok := c.list.Deadline()
	earlier := func(s Stamp) {
		if next := c.table.epoch.Add(time.Duration(s)); !ok || next.Before(at) {
			at, ok = next, true
		}
	}
	if c.discovering() {
		earlier(c.discovery.next)
	}
	if len(c.ports) > 0 {
		earlier(c.nextRefresh)
	}
	return at, ok
}

func (c *Client) discovering() bool { return c.discovery.on && c.own.IsValid() }

// announce multicasts a discovery bubble when its time has come (C-LOC-02).
func (c *Client) announce(now Stamp, out *Output) {
	if !c.discovering() || now < c.discovery.next {
		return
	}
	var random [8]byte
	c.cfg.Rand(random[:])
	spread := binary.BigEndian.Uint64(random[:]) % uint64(discoveryPeriodMax-discoveryPeriodMin+1)
	c.discovery.next = now + Stamp(discoveryPeriodMin) + Stamp(spread)
	c.sendDiscovery(out)
}

// sendDiscovery sends a local discovery bubble (W-DISC-01). Its IPv4 TTL is 1, the default for multicast.
func (c *Client) sendDiscovery(out *Output) {
	to := netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port)
	out.UDP.Send(to, teredo.AppendBubble(out.UDP.Next(), c.own, teredo.AllNodes(), 1))
}

// Discovered handles a well-formed UDP payload that came to the discovery address by multicast (§5.2.3 case 4). Payloads
// that came by unicast must not be given to it (C-LOC-03).
func (c *Client) Discovered(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	now := c.table.Stamp(t)
	if why := c.discovered(now, from, pkt, out); why != drop.None {
		c.cfg.Drops.Count(why)
	}
}

func (c *Client) discovered(now Stamp, from netip.AddrPort, pkt *teredo.Packet, out *Output) drop.Reason {
	src := keyAt(pkt.IPv6[8:])
	switch {
	case !c.discovering():
		return drop.NotQualified
	case !teredo.IsBubble(pkt.IPv6) || teredo.Destination(pkt.IPv6) != teredo.AllNodes():
		return drop.NotAllowed
	case src == keyOf(c.own):
		return drop.None // our own, looped back
	case !src.isTeredo() || from.Port() == 0 || !c.onSubnet(from.Addr()): // C-LOC-04
		return drop.Source
	}
	p := c.admit(src, now)
	if p == nil {
		return drop.TableFull
	}
	x := p.extend()
	x.local, x.localSeen = endpointWord(from), now // C-LOC-06
	if at, ok := p.search().mayBubble(Stamp(p.sent.Load()), now); ok && at <= now && c.mayAnswer(src, p, from.Addr(), now) {
		p.setup.countBubble(now)
		c.greet(p, now, out) // C-LOC-07
	}
	return drop.None
}

// onSubnet reports whether a is a host's address on an attached subnet.
func (c *Client) onSubnet(a netip.Addr) bool {
	return !slices.Contains(c.cfg.Filter.Broadcasts, a) &&
		slices.ContainsFunc(c.discovery.subnets, func(s netip.Prefix) bool { return s.Contains(a) })
}

// isLocal reports whether a discovery bubble of the peer came in the last 600 s, from a subnet that is still attached.
func (c *Client) isLocal(p *Peer, now Stamp) bool {
	x := p.ext
	return c.discovering() && x != nil && x.local != 0 && now-x.localSeen < localFor && c.onSubnet(wordEndpoint(x.local).Addr())
}

// isLocalAt reports whether from is the local endpoint of the peer.
func (c *Client) isLocalAt(p *Peer, from netip.AddrPort, now Stamp) bool {
	return p != nil && c.isLocal(p, now) && p.ext.local == endpointWord(from)
}

// greet sends a bubble to the local endpoint of the peer. With the peer's nonce it proves where we are.
func (c *Client) greet(p *Peer, now Stamp, out *Output) {
	p.sent.Store(int64(now))
	c.sendBubble(p, 0, wordEndpoint(p.ext.local), now, out)
}

// knockLocally tries to reach a local peer: a discovery bubble so that it knows our local endpoint, and then a bubble to its
// own (§5.2.4 case 3).
func (c *Client) knockLocally(p *Peer, now Stamp, out *Output) {
	c.sendDiscovery(out)
	c.greet(p, now, out)
}
