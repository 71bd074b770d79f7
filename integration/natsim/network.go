package natsim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Network is one IPv4 network: the public internet, or the LAN behind a NAT.
type Network struct {
	in      *Internet
	name    string
	prefix  netip.Prefix
	last    netip.Addr // that was given out
	ports   []*port
	gateway *NAT // of a LAN
}

func newNetwork(in *Internet, name string, prefix netip.Prefix) *Network {
	return &Network{in: in, name: name, prefix: prefix, last: prefix.Addr()}
}

// Prefix has the addresses of the network.
func (n *Network) Prefix() netip.Prefix { return n.prefix }

// giveOut returns an address that nobody had before.
func (n *Network) giveOut() netip.Addr {
	n.last = n.last.Next()
	return n.last
}

// attach gives a port an address of the network.
func (n *Network) attach(p *port) {
	p.net, p.addrs = n, []netip.Addr{n.giveOut()}
	n.ports = append(n.ports, p)
}

// detach unplugs a port.
func (n *Network) detach(p *port) {
	p.net, p.addrs = nil, nil
	n.ports = slices.DeleteFunc(n.ports, func(q *port) bool { return q == p })
}

// delay is that of the links of hosts in the network.
func (n *Network) delay() time.Duration {
	if n.gateway != nil {
		return 0
	}
	return defaultDelay
}

// send sends a packet of a host, whose source address may be forged, from a port. It returns the packet with its number.
func (in *Internet) send(from *port, p Packet) Packet {
	in.last++
	p.ID = in.last
	in.trace.add(from.name, Sent, "", p)
	if in.ruledOut(nil, p) {
		in.trace.add(from.name, Dropped, "by rule", p)
		return p
	}
	from.net.forward(from, p)
	return p
}

// forward carries a packet over the link of the port where it comes in, and to where its destination is.
func (n *Network) forward(from *port, p Packet) {
	if n.in.ruledOut(n, p) {
		n.in.trace.add(from.name, Dropped, "by rule", p)
		return
	}
	from.cross(p, func(p Packet) { n.route(from, p) })
}

func (n *Network) route(from *port, p Packet) {
	dst := p.Dst.Addr()
	if dst.IsMulticast() {
		n.multicast(from, p)
		return
	}
	if to := n.find(from, dst); to != nil {
		n.deliver(from, to, p)
		return
	}
	if n.gateway != nil && !n.prefix.Contains(dst) {
		n.gateway.outbound(p)
		return
	}
	n.in.trace.add(n.name, Dropped, "no such address", p)
}

// find returns the port that has an address or, for addresses of clients in the native internet, a relay's.
func (n *Network) find(from *port, dst netip.Addr) *port {
	if from != nil && from.relay != nil && from.relay.leadsTo(dst) {
		return from.relay
	}
	for _, p := range n.ports {
		if p.leadsTo(dst) {
			return p
		}
	}
	for _, p := range n.ports {
		if slices.Contains(p.addrs, dst) {
			return p
		}
	}
	return nil
}

// deliver carries a packet from a port, or from the NAT (nil), to another port.
func (n *Network) deliver(from, to *port, p Packet) {
	var delay time.Duration
	if n.gateway != nil && from != nil {
		delay = lanDelay
	}
	n.in.clock.after(delay, func() {
		to.cross(p, func(p Packet) { n.arrive(to, p) })
	})
}

// arrive gives a packet to a port, unless that has left the network meanwhile.
func (n *Network) arrive(to *port, p Packet) {
	if to.net != n {
		n.in.trace.add(to.name, Dropped, "unplugged", p)
		return
	}
	to.receive(p)
}

// multicast delivers to all other hosts of a LAN. No router passes on what was sent with a TTL of 1.
func (n *Network) multicast(from *port, p Packet) {
	if n.gateway == nil {
		n.in.trace.add(n.name, Dropped, "multicast is not routed", p)
		return
	}
	for _, to := range n.ports {
		if to != from {
			n.deliver(from, to, p)
		}
	}
}

// Spoof sends a datagram into the public internet with any source address, as an attacker could.
func (in *Internet) Spoof(src, dst netip.AddrPort, payload []byte) {
	in.do(func() {
		from := in.newPort("attacker", defaultDelay, nil)
		from.net = in.Network
		in.send(from, Packet{Src: src, Dst: dst, TTL: defaultTTL, Payload: slices.Clone(payload)})
	})
}

// called names a thing of which there can be several.
func (in *Internet) called(kind string) string {
	in.names[kind]++
	return fmt.Sprintf("%s%d", kind, in.names[kind])
}
