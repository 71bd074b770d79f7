package natsim

import (
	"math/rand/v2"
	"net/netip"
	"slices"
)

const defaultTTL = 64

// Host is a host with IPv4.
type Host struct {
	in    *Internet
	port  *port
	rand  *rand.Rand
	conns []*Conn
}

// Host adds a host to the network.
func (n *Network) Host() *Host { return n.host("host") }

func (n *Network) host(kind string) (h *Host) {
	n.in.do(func() {
		h = &Host{in: n.in}
		h.port = n.in.newPort(n.in.called(kind), n.delay(), h.receive)
		h.rand = rand.New(n.in.source(n.in.id()))
		n.attach(h.port)
	})
	return h
}

// Name is what the host is called in the trace.
func (h *Host) Name() string { return h.port.name }

// Addr is the host's address, the first one if it has several, and invalid while it is unplugged.
func (h *Host) Addr() (addr netip.Addr) {
	h.in.do(func() {
		if len(h.port.addrs) > 0 {
			addr = h.port.addrs[0]
		}
	})
	return addr
}

// AddAddr gives the host one more address.
func (h *Host) AddAddr() (addr netip.Addr) {
	h.in.do(func() {
		addr = h.port.net.giveOut()
		h.port.addrs = append(h.port.addrs, addr)
	})
	return addr
}

// Renumber gives the host another address in place of all it had.
func (h *Host) Renumber() { h.in.do(func() { h.port.addrs = []netip.Addr{h.port.net.giveOut()} }) }

// SetLink changes the host's link.
func (h *Host) SetLink(l Link) { h.in.do(func() { h.port.link = l }) }

// Unplug takes the host off its network. Its programs cannot send any more, and are told so.
func (h *Host) Unplug() {
	h.in.do(func() {
		if h.port.net != nil {
			h.port.net.detach(h.port)
		}
	})
}

// Move takes the host to a network, where it gets another address and a link as its hosts have. The sockets stay open.
func (h *Host) Move(to *Network) {
	h.Unplug()
	h.in.do(func() {
		to.attach(h.port)
		h.port.link = Link{Delay: to.delay()}
	})
}

// receive gives a datagram to the sockets that want it.
func (h *Host) receive(p Packet) {
	found := false
	for _, c := range h.conns {
		if c.wants(p) {
			found = true
			c.receive(p)
		}
	}
	if !found {
		h.in.trace.add(h.port.name, Dropped, "no socket", p)
	}
}

// ListenFor opens one more UDP socket for the program that has another one, at a port that is chosen at random.
func (h *Host) ListenFor(other *Conn) (c *Conn) {
	h.in.clock.do(other.id, nil, func() { c = h.listen(netip.AddrPortFrom(other.local.Addr(), 0)) })
	return c
}

// Listen opens a UDP socket. The address may be 0.0.0.0, one of the host's, or a multicast group: then only what is sent
// to the group is received. Port 0 chooses one.
func (h *Host) Listen(local netip.AddrPort) (c *Conn) {
	h.in.do(func() { c = h.listen(local) })
	return c
}

func (h *Host) listen(local netip.AddrPort) *Conn {
	if local.Port() == 0 {
		local = netip.AddrPortFrom(local.Addr(), h.freePort())
	}
	c := newConn(h, local)
	h.conns = append(h.conns, c)
	return c
}

// freePort picks a port at random, as the kernel does.
func (h *Host) freePort() uint16 {
	const lowest, count = 32768, 28232
	for {
		port := uint16(lowest + h.rand.IntN(count))
		if !slices.ContainsFunc(h.conns, func(c *Conn) bool { return c.local.Port() == port }) {
			return port
		}
	}
}

// source is the address that a socket sends from. It is invalid when the host has none.
func (h *Host) source(local netip.Addr) netip.Addr {
	switch {
	case len(h.port.addrs) == 0:
		return netip.Addr{}
	case local.IsUnspecified() || local.IsMulticast():
		return h.port.addrs[0]
	case slices.Contains(h.port.addrs, local):
		return local
	}
	return netip.Addr{}
}

// Sockets is how many sockets are open.
func (h *Host) Sockets() (n int) {
	h.in.do(func() { n = len(h.conns) })
	return n
}
