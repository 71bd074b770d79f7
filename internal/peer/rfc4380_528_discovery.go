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

// localPeer is where a discovery bubble has last come from that a peer has sent.
type localPeer struct {
	at   endpoint // zero: none has come
	seen Stamp
}

// SetDiscovery turns local discovery on, with a first bubble at once, or off.
func (c *Client) SetDiscovery(t time.Time, on bool) {
	c.discovery.on, c.discovery.next = on, c.table.Stamp(t)
}

// SetSubnets tells the attached IPv4 subnets, whose hosts may be local peers.
func (c *Client) SetSubnets(subnets []netip.Prefix) { c.discovery.subnets = subnets }

func (c *Client) discovering() bool { return c.discovery.on && c.own.IsValid() }

// announce multicasts a discovery bubble when its time has come (RFC 4380 §5.2.8, C-LOC-02).
func (c *Client) announce(now Stamp, out *Output) {
	if !c.discovering() || now < c.discovery.next {
		return
	}
	var random [8]byte
	c.random(random[:])
	spread := binary.BigEndian.Uint64(random[:]) % uint64(discoveryPeriodMax-discoveryPeriodMin+1)
	c.discovery.next = now + Stamp(discoveryPeriodMin) + Stamp(spread)
	c.sendDiscovery(out)
}

// sendDiscovery sends a local discovery bubble (W-DISC-01). Its IPv4 TTL is 1, the default for multicast.
func (c *Client) sendDiscovery(out *Output) {
	to := netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port)
	out.UDP.Send(to, teredo.AppendBubble(out.UDP.Next(), c.own, teredo.AllNodes(), 1))
}

// Discovered handles a well-formed UDP payload that came to the discovery address by multicast (RFC 4380 §5.2.3 case 4,
// §5.2.8). Payloads that came by unicast must not be given to it (C-LOC-03).
func (c *Client) Discovered(t time.Time, from netip.AddrPort, pkt *teredo.Packet, out *Output) {
	c.count(c.discovered(endpointOf(from), pkt, c.table.Stamp(t), out))
}

func (c *Client) discovered(from endpoint, pkt *teredo.Packet, now Stamp, out *Output) drop.Reason {
	src := sourceOf(pkt.IPv6)
	switch {
	case !c.discovering():
		return drop.NotQualified
	case !teredo.IsBubble(pkt.IPv6) || teredo.Destination(pkt.IPv6) != teredo.AllNodes():
		return drop.NotAllowed
	case src == c.ownKey:
		return drop.None // our own, looped back
	case !src.isTeredo() || from.port() == 0 || !c.onSubnet(from.addr()): // C-LOC-04
		return drop.Source
	}
	p := c.admit(c.table.lookup(src), src, now)
	if p == nil {
		return drop.TableFull
	}
	p.ensureDetails().local = localPeer{from, now} // C-LOC-06
	c.table.markLocal(p)
	if p.mayBubble(now) && c.mayAnswer(src, p, from.addr(), now) {
		p.search.bubbles.add(now)
		c.bubbleLocally(p, now, out) // C-LOC-07
	}
	return drop.None
}

// onSubnet reports whether a is a host's address on an attached subnet.
func (c *Client) onSubnet(a netip.Addr) bool {
	return !slices.Contains(c.filter.Broadcasts, a) &&
		slices.ContainsFunc(c.discovery.subnets, func(s netip.Prefix) bool { return s.Contains(a) })
}

// isLocal reports whether a discovery bubble of the peer came in the last 600 s, from a subnet that is still attached
// (RFC 4380 §5.2.4 case 3).
func (c *Client) isLocal(p *Peer, now Stamp) bool {
	if !c.discovering() || p == nil || p.details == nil {
		return false
	}
	l := p.details.local
	return l.at != 0 && now-l.seen < localFor && c.onSubnet(l.at.addr())
}

// isLocalAt reports whether from is the local endpoint of the peer (RFC 4380 §5.2.3 case 5).
func (c *Client) isLocalAt(p *Peer, from endpoint, now Stamp) bool {
	return c.isLocal(p, now) && p.details.local.at == from
}

// provisional reports whether the path leads to the local endpoint of the peer and is not verified: only discovery bubbles in its
// name say that it is there. Such a path serves as long as there is no other.
func (p *Peer) provisional() bool {
	d := p.details
	return d != nil && d.local.at != 0 && p.path.Load()&^pathMarks == pathTo(d.local.at, 0) && !p.isVerified()
}

// bubbleLocally sends a bubble to the local endpoint of the peer. With the peer's nonce it tells where we are.
func (c *Client) bubbleLocally(p *Peer, now Stamp, out *Output) {
	p.sent.Store(now)
	c.sendBubble(p, pathTo(p.details.local.at, 0), now, out)
}

// knockLocally tries to reach a local peer: a discovery bubble so that it knows our local endpoint, and then a bubble to its
// own (RFC 4380 §5.2.4 case 3).
func (c *Client) knockLocally(p *Peer, now Stamp, out *Output) {
	c.sendDiscovery(out)
	c.bubbleLocally(p, now, out)
}
