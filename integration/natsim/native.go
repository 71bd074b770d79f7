package natsim

import (
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/internal/tun"
)

// Native is a host of the native IPv6 internet.
type Native struct {
	*Stack
	port *port
}

// Native adds a host to the native internet.
func (in *Internet) Native() (n *Native) {
	in.do(func() {
		n = &Native{}
		n.port = in.newPort(in.called("native"), defaultDelay, func(p Packet) {
			in.trace.add(n.port.name, Received, "", p)
			n.receive(p.Payload)
		})
		in.native.attach(n.port)
		n.Stack = in.newStack(n.port.name, func(packet []byte) { in.send(n.port, nativePacket(packet)) })
		n.addrs = n.port.addrs
	})
	return n
}

// Attach adds a host to the native internet whose IPv6 stack is behind a device, until that is closed. It returns the host's address.
func (in *Internet) Attach(device tun.Device) (addr netip.Addr) {
	var p *port
	var id int
	in.do(func() {
		id = in.id()
		p = in.newPort(in.called("native"), defaultDelay, func(packet Packet) {
			in.trace.add(p.name, Received, "", packet)
			_, _ = device.WriteBatch([][]byte{slices.Clone(packet.Payload)}) // what the host refuses is lost
		})
		in.native.attach(p)
		addr = p.addrs[0]
	})
	go func() {
		packets := make([]tun.Packet, 128)
		for {
			n, err := device.ReadBatch(packets)
			if err != nil {
				return
			}
			for _, packet := range packets[:n] {
				whole := slices.Concat(packet.Head, packet.Body)
				in.clock.do(id, whole, func() { in.send(p, nativePacket(whole)) })
			}
		}
	}()
	return addr
}

// Via has the host's packets to clients go to a relay, as far as it has a route. Without it they go to the first relay that has.
func (n *Native) Via(r *Relay) { n.in.do(func() { n.port.relay = r.native }) }

// SetLink changes the host's link.
func (n *Native) SetLink(l Link) { n.in.do(func() { n.port.link = l }) }

// leadsTo reports whether the native internet has a route to the address through a relay's port.
func (p *port) leadsTo(dst netip.Addr) bool {
	return slices.ContainsFunc(p.routes, func(r netip.Prefix) bool { return r.Contains(dst) })
}
