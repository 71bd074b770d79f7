package natsim

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

// Via has the host's packets to 2001::/32 go to a relay. Without it they go to the relay that was made first.
func (n *Native) Via(r *Relay) { n.in.do(func() { n.port.teredo = r.native }) }

// SetLink changes the host's link.
func (n *Native) SetLink(l Link) { n.in.do(func() { n.port.link = l }) }

// firstRelay is where the native internet routes 2001::/32.
func (in *Internet) firstRelay() *port {
	for _, p := range in.native.ports {
		if p.teredo == p {
			return p
		}
	}
	return nil
}
