package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// openForward opens a local address from which connections go to a fixed target.
func (p *Proxy) openForward(f ForwardTo) error {
	what := fmt.Sprintf("forward to %v", f.Target)
	if !f.UDP {
		return p.listen(what, f.Local, func(l net.Listener) error {
			return p.accept(l, func(c net.Conn) { p.forward(c, f.Target) })
		})
	}
	l, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(f.Local))
	if err != nil {
		return &ListenError{what, f.Local, err}
	}
	s := p.newSessions(l, ForwardUDP, func(ctx context.Context) (net.Conn, error) {
		if _, err := p.addresses(ctx, f.Target.Addr().String()); err != nil {
			return nil, err
		}
		return p.network.DialContext(ctx, "udp6", f.Target.String())
	})
	p.add(fmt.Sprintf("UDP %s at %v", what, l.LocalAddr()), l, s.serve)
	return nil
}

// forward connects a local client with a fixed target.
func (p *Proxy) forward(c net.Conn, target netip.AddrPort) {
	end, err := p.begin(Forward, netip.Addr{})
	if err != nil {
		p.refused("forward", c.RemoteAddr(), err)
		reset(c)
		return
	}
	out, err := p.dial(p.ctx, target.Addr().String(), target.Port())
	if err != nil {
		p.refused("forward", c.RemoteAddr(), err)
		reset(c)
		end()
		return
	}
	p.relay(c, out, end)
}

// openService opens a port of the IPv6 address from which connections go to a service of this host.
func (p *Proxy) openService(s Service) error {
	at := fmt.Sprintf("[::]:%d", s.Port)
	if !s.UDP {
		l, err := p.network.Listen("tcp6", at)
		if err != nil {
			return err
		}
		p.add(fmt.Sprintf("port %d for %s", s.Port, s.Host), l, func() error {
			return p.accept(l, func(c net.Conn) { p.publish(c, s.Host) })
		})
		return nil
	}
	l, err := p.network.ListenPacket("udp6", at)
	if err != nil {
		return err
	}
	sessions := p.newSessions(l, PublishUDP, func(ctx context.Context) (net.Conn, error) { return p.dialService(ctx, "udp", s.Host) })
	sessions.public = true
	p.add(fmt.Sprintf("UDP port %d for %s", s.Port, s.Host), l, sessions.serve)
	return nil
}

// publish connects a host of the IPv6 Internet with a service of this host.
func (p *Proxy) publish(c net.Conn, service string) {
	source := addrOf(c.RemoteAddr())
	end, err := p.beginPublic(Publish, source)
	if err != nil {
		p.refused("publish", c.RemoteAddr(), err)
		reset(c)
		return
	}
	in, err := p.dialService(p.ctx, "tcp", service)
	if err != nil {
		p.refused("publish", c.RemoteAddr(), err)
		reset(c)
		end()
		return
	}
	p.relay(in, c, end)
}

// beginPublic is begin for a source that may not be allowed.
func (p *Proxy) beginPublic(kind Kind, source netip.Addr) (end func(), err error) {
	if len(p.allowed) > 0 && !slices.ContainsFunc(p.allowed, func(f netip.Prefix) bool { return f.Contains(source) }) {
		return nil, refuse(ReasonSource, "the source is not in the allow list")
	}
	return p.begin(kind, source)
}

// dialService connects to a service of this host, or of another one that it reaches by itself.
func (p *Proxy) dialService(ctx context.Context, network, service string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: serviceTimeout, KeepAliveConfig: keepAlive()}
	return dialer.DialContext(ctx, network, service)
}
