package natsim

import (
	"context"
	"net/netip"
	"slices"

	"github.com/teredo-suite/teredo/teredo"
	"github.com/teredo-suite/teredo/tunnel"
)

// relayCapacity is how many clients a relay has room for, unless options say otherwise.
const relayCapacity = 1024

// Client is a host that runs the Teredo client. Its Stack is what is behind the TUN device.
type Client struct {
	*Stack
	*program
	Host   *Host
	Conn   *Conn
	Device *Device
	Tunnel *tunnel.Client

	server  *Server
	options []func(*tunnel.ClientConfig)
}

// Client adds a host to the network that runs the client with a server. Options change the client's configuration.
func (n *Network) Client(s *Server, options ...func(*tunnel.ClientConfig)) *Client {
	return n.host("client").runClient(0, s, options)
}

// Again starts the client once more after its end, at the same host and local port. Options are added to those of before.
func (c *Client) Again(options ...func(*tunnel.ClientConfig)) *Client {
	return c.Host.runClient(c.Conn.local.Port(), c.server, slices.Concat(c.options, options))
}

func (h *Host) runClient(port uint16, s *Server, options []func(*tunnel.ClientConfig)) *Client {
	in := h.in
	c := &Client{Host: h, server: s, options: options}
	c.Conn = c.Host.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port))
	var random func([]byte)
	in.do(func() {
		c.Stack = in.newStack(c.Host.Name(), func(packet []byte) { c.Device.push(packet) })
		c.Device = in.newDevice(c.Host.Name(), c.Stack.receive)
		random = in.random()
	})
	cfg := h.clientConfig(c.Conn, s)
	cfg.Device, cfg.Rand, cfg.Configure = c.Device, random, c.Stack.Configure
	for _, o := range options {
		o(&cfg)
	}
	c.Tunnel = tunnel.NewClient(cfg)
	c.program = in.start(c.Host.Name(), c.Tunnel.Run)
	return c
}

// clientConfig is the configuration of a client with a service port, without its IPv6 stack.
func (h *Host) clientConfig(conn *Conn, s *Server) tunnel.ClientConfig {
	return tunnel.ClientConfig{
		Listen: func() (tunnel.Conn, error) { return conn, nil }, Permit: Filter().Permit, Log: h.in.logger(h.Name()),
		Servers: []tunnel.Lookup{s.Lookup}, Network: h.Network(),
		Local: func(netip.Addr) netip.AddrPort { return h.endpoint(conn) },
		Discovery: func(netip.Addr) (tunnel.Conn, error) {
			return h.Listen(netip.AddrPortFrom(teredo.DiscoveryAddr(), teredo.Port)), nil
		},
		RandomPort: func() (tunnel.Conn, error) { return h.ListenFor(conn), nil },
	}
}

// ClientConfig is the configuration of a client of the host that has an IPv6 stack of its own, and that the caller runs.
func (h *Host) ClientConfig(s *Server) tunnel.ClientConfig {
	return h.clientConfig(h.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)), s)
}

// Network is what a client is told about its host's network.
func (h *Host) Network() (n tunnel.Network) {
	h.in.do(func() {
		if net := h.port.net; net != nil {
			n.Subnets = []netip.Prefix{net.prefix}
		}
	})
	return n
}

// Move takes the client's host to another network.
func (c *Client) Move(to *Network) {
	c.Host.Move(to)
	c.NetworkChanged()
}

// Unplug takes the client's host off its network.
func (c *Client) Unplug() {
	c.Host.Unplug()
	c.NetworkChanged()
}

// Renumber gives the client's host another local address.
func (c *Client) Renumber() {
	c.Host.Renumber()
	c.NetworkChanged()
}

// NetworkChanged tells the client what has become of its host's network, as netcfg does.
func (c *Client) NetworkChanged() {
	c.Host.in.t.Helper()
	if err := c.Tunnel.NetworkChanged(context.Background(), c.Host.Network()); err != nil {
		c.Host.in.t.Fatalf("%s: %v", c.Host.Name(), err)
	}
}

// Status asks the client for its status.
func (c *Client) Status() tunnel.ClientStatus {
	c.Host.in.t.Helper()
	s, err := c.Tunnel.Status(context.Background())
	if err != nil {
		c.Host.in.t.Fatalf("status of %s: %v", c.Host.Name(), err)
	}
	return s
}

// Relay is a host that runs the Teredo relay, for the native internet.
type Relay struct {
	*program
	in     *Internet
	native *port
	Host   *Host
	Conn   *Conn
	Device *Device
	Tunnel *tunnel.Relay
}

// routes are what leads to a relay in the native internet: the native prefixes of clients or, without any, 2001::/32.
func routes(natives teredo.NativePrefixes) []netip.Prefix {
	if len(natives) == 0 {
		return []netip.Prefix{teredo.Prefix()}
	}
	return natives.Prefixes()
}

// Relay adds a relay to the network. Options change its configuration. One with native prefixes has no route to 2001::/32.
func (n *Network) Relay(options ...func(*tunnel.RelayConfig)) *Relay {
	in := n.in
	r := &Relay{in: in, Host: n.host("relay")}
	r.Conn = r.Host.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	in.do(func() {
		name := r.Host.Name()
		r.native = in.newPort(name, defaultDelay, func(p Packet) {
			in.trace.add(name, Received, "", p)
			r.Device.push(p.Payload)
		})
		r.native.relay = r.native
		in.native.attach(r.native)
	})
	r.run(options)
	return r
}

// Restart has another process take the place of one that was stopped, with the same address and port.
func (r *Relay) Restart(options ...func(*tunnel.RelayConfig)) {
	r.Conn = r.Host.Listen(r.Conn.LocalAddr())
	r.run(options)
}

// run runs the program.
func (r *Relay) run(options []func(*tunnel.RelayConfig)) {
	in, name := r.in, r.Host.Name()
	var random func([]byte)
	in.do(func() {
		r.Device = in.newDevice(name, func(packet []byte) { in.send(r.native, nativePacket(packet)) })
		random = in.random()
	})
	cfg := tunnel.RelayConfig{
		Devices: []tunnel.Device{r.Device}, Conns: []tunnel.Conn{r.Conn}, Capacity: relayCapacity, PermitIPv4: Filter().Permit, Rand: random,
		Network: tunnel.RelayNetwork{Errors: r.native.addrs[0]},
	}
	for _, o := range options {
		o(&cfg)
	}
	in.do(func() { r.native.routes = routes(cfg.Natives) })
	r.Tunnel = tunnel.NewRelay(cfg)
	r.program = in.start(name, r.Tunnel.Run)
}

// Status asks the relay for its status.
func (r *Relay) Status() tunnel.RelayStatus {
	r.in.t.Helper()
	s, err := r.Tunnel.Status(context.Background())
	if err != nil {
		r.in.t.Fatalf("status of %s: %v", r.Host.Name(), err)
	}
	return s
}

// SetNativeLink changes the relay's link to the native internet.
func (r *Relay) SetNativeLink(l Link) { r.in.do(func() { r.native.link = l }) }

// random makes a source of random numbers for a program.
func (in *Internet) random() func([]byte) {
	source := in.source(in.id())
	return func(b []byte) { source.Read(b) }
}

// endpoint is the host's address and the port of a socket, as netcfg finds them; invalid while the host is unplugged.
func (h *Host) endpoint(c *Conn) netip.AddrPort {
	if a := h.Addr(); a.IsValid() {
		return netip.AddrPortFrom(a, c.local.Port())
	}
	return netip.AddrPort{}
}

// program is a running client or relay.
type program struct {
	in    *Internet
	name  string
	end   context.CancelFunc
	ended chan struct{}
	err   error // unless Wait has told it
}

// start runs a program until Stop, or the end of the scenario.
func (in *Internet) start(name string, run func(context.Context) error) *program {
	ctx, cancel := context.WithCancel(context.Background())
	p := &program{in: in, name: name, end: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = run(ctx)
	}()
	in.closers = append(in.closers, p.Stop)
	return p
}

// Stop ends the program, waits for its end, and fails the test when it ends with an error.
func (p *program) Stop() {
	p.in.t.Helper()
	p.end()
	if err := p.Wait(); err != nil {
		p.in.t.Errorf("%s ended with: %v", p.name, err)
	}
}

// Wait waits until the program ends, and returns its error.
func (p *program) Wait() (err error) {
	<-p.ended
	err, p.err = p.err, nil
	return err
}
